//! Receives and sends batches of packets: recvmmsg(2) and sendmmsg(2).
//!
//! With one instruction in `prefetch`, this is the only unsafe code of the crate.
//! rustix provides neither call, and nix sends one control message with all packets of
//! a batch, while here each packet needs its own: its source address. Every pointer
//! passed to the kernel points into buffers that the batch owns, which never move or
//! grow during its lifetime.

use std::{
    io, mem,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use libc::{
    AF_INET, AF_INET6, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IPV6_RECVPKTINFO,
    MSG_WAITFORONE, c_int, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, recvmmsg, sendmmsg,
    setsockopt, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
};

use crate::server::wire::{BATCH_SIZE, MAX_UDP_OCTETS};

/// The length of a receive buffer. Queries are far smaller, and the server advertises
/// no larger payload (see `MAX_UDP_OCTETS`); a longer packet is truncated, and is then
/// not a valid query. Buffers of one page each would evict each other from the same
/// few sets of the processor's cache; buffers of an odd number of cache lines do not.
const QUERY_OCTETS: usize = 23 * 64;

/// A buffer for one control message with an address, with the alignment of its header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ControlBuffer([u8; 48]);

/// Makes the kernel report the destination address of each packet.
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn receive_destinations(socket: &impl AsRawFd, bound: IpAddr) -> io::Result<()> {
    let (level, option) = match bound {
        IpAddr::V4(_) => (IPPROTO_IP, IP_PKTINFO),
        IpAddr::V6(_) => (IPPROTO_IPV6, IPV6_RECVPKTINFO),
    };
    let (on, length): (c_int, _) = (1, mem::size_of::<c_int>() as socklen_t);
    let fd = socket.as_raw_fd();
    // SAFETY: the kernel reads `length` bytes of `on`, which is its size.
    match unsafe { setsockopt(fd, level, option, (&raw const on).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A batch of received packets with the replies to them.
pub struct Batch {
    packets: Vec<[u8; QUERY_OCTETS]>,
    replies: Vec<Vec<u8>>,
    addresses: Vec<sockaddr_storage>,
    controls: Vec<ControlBuffer>,
    /// Receiving and sending use separate headers, so that few fields must be set for
    /// each packet.
    received: Headers,
    sent: Headers,
    /// The number of packets.
    count: usize,
    /// The number of headers that the kernel wrote to in the previous batch.
    used: usize,
}

/// The headers of messages, each with the one vector that it points to.
struct Headers {
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
}

// SAFETY: the pointers in `received` and `sent` point to memory on the heap that the
// batch owns, and only the kernel dereferences them, during a system call. So the batch
// can move to another thread.
unsafe impl Send for Batch {}

impl Batch {
    pub fn new() -> Self {
        // SAFETY: the type consists of integers, for which zero is a valid value.
        let address = unsafe { mem::zeroed() };
        let mut batch = Self {
            packets: vec![[0; QUERY_OCTETS]; BATCH_SIZE],
            replies: (0..BATCH_SIZE)
                .map(|_| Vec::with_capacity(MAX_UDP_OCTETS.into()))
                .collect(),
            addresses: vec![address; BATCH_SIZE],
            controls: vec![ControlBuffer([0; 48]); BATCH_SIZE],
            received: Headers::new(),
            sent: Headers::new(),
            count: 0,
            used: BATCH_SIZE,
        };
        for index in 0..BATCH_SIZE {
            batch.received.vectors[index] = iovec {
                iov_base: batch.packets[index].as_mut_ptr().cast(),
                iov_len: QUERY_OCTETS,
            };
            let header = &mut batch.received.headers[index].msg_hdr;
            header.msg_name = (&raw mut batch.addresses[index]).cast();
            header.msg_control = batch.controls[index].0.as_mut_ptr().cast();
        }
        batch
    }

    /// Waits for a packet, and receives all that are available with it. Returns their
    /// number.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2); `WouldBlock` when the read timeout of the socket expires.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        for header in &mut self.received.headers[..self.used] {
            header.msg_hdr.msg_namelen = mem::size_of::<sockaddr_storage>() as socklen_t;
            header.msg_hdr.msg_controllen = mem::size_of::<ControlBuffer>();
        }
        self.count = 0;
        // The kernel may write to the first header even if it receives no packet.
        self.used = 1;
        // SAFETY: there are BATCH_SIZE headers, each of which points to buffers of this
        // batch, which do not move, with their correct lengths: the lengths that the
        // kernel changed in the previous batch were reset above, and it has not
        // changed the others. There is no timeout.
        let received = unsafe {
            recvmmsg(
                socket,
                self.received.headers.as_mut_ptr(),
                BATCH_SIZE as u32,
                MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.used = self.count.max(1);
        Ok(self.count)
    }

    /// The packets, and a buffer for the reply to each. An empty reply is not sent.
    pub fn packets_and_replies(&mut self) -> (Packets<'_>, &mut [Vec<u8>]) {
        let packets = Packets {
            packets: &self.packets,
            addresses: &self.addresses,
            headers: &self.received.headers[..self.count],
            controls: &self.controls,
        };
        (packets, &mut self.replies)
    }

    /// Sends the replies that are not empty, and clears all of them.
    pub fn send(&mut self, socket: RawFd) {
        let mut count = 0;
        let replies = &mut self.replies[..self.count];
        for (index, reply) in replies.iter_mut().enumerate() {
            if reply.is_empty() {
                continue;
            }
            self.sent.vectors[count] = iovec {
                iov_base: reply.as_mut_ptr().cast(),
                iov_len: reply.len(),
            };
            let received = &self.received.headers[index].msg_hdr;
            let control = &mut self.controls[index];
            if received.msg_controllen > 0 {
                set_reply_source(control);
            }
            let header = &mut self.sent.headers[count].msg_hdr;
            header.msg_name = received.msg_name;
            header.msg_namelen = received.msg_namelen;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = received.msg_controllen;
            count += 1;
        }
        send_all(socket, &mut self.sent.headers[..count]);
        for reply in replies {
            reply.clear();
        }
    }
}

impl Headers {
    fn new() -> Self {
        // SAFETY: the types consist of integers and pointers, for which zero is a valid
        // value.
        let (header, vector): (mmsghdr, iovec) = unsafe { mem::zeroed() };
        let mut vectors = vec![vector; BATCH_SIZE];
        let mut headers = vec![header; BATCH_SIZE];
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        Self { headers, vectors }
    }
}

/// The packets of a batch, by their indices.
#[derive(Clone, Copy)]
pub struct Packets<'b> {
    packets: &'b [[u8; QUERY_OCTETS]],
    addresses: &'b [sockaddr_storage],
    headers: &'b [mmsghdr],
    controls: &'b [ControlBuffer],
}

impl<'b> Packets<'b> {
    pub fn packet(&self, index: usize) -> &'b [u8] {
        &self.packets[index][..self.headers[index].msg_len as usize]
    }

    /// All packets.
    pub fn iter(self) -> impl Iterator<Item = &'b [u8]> {
        (0..self.headers.len()).map(move |index| self.packet(index))
    }

    /// The source address of a packet.
    pub fn source_address(&self, index: usize) -> Option<SocketAddr> {
        let address = &self.addresses[index];
        match i32::from(address.ss_family) {
            AF_INET => {
                // SAFETY: the family identifies a sockaddr_in, which is no larger and
                // has no stricter alignment than a sockaddr_storage.
                let address = unsafe { &*ptr::from_ref(address).cast::<sockaddr_in>() };
                let ip = u32::from_be(address.sin_addr.s_addr).into();
                let port = u16::from_be(address.sin_port);
                Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
            }
            AF_INET6 => {
                // SAFETY: as above, with sockaddr_in6.
                let address = unsafe { &*ptr::from_ref(address).cast::<sockaddr_in6>() };
                let ip = address.sin6_addr.s6_addr.into();
                let port = u16::from_be(address.sin6_port);
                let (flow_info, scope_id) = (address.sin6_flowinfo, address.sin6_scope_id);
                let address = SocketAddrV6::new(ip, port, flow_info, scope_id);
                Some(SocketAddr::V6(address))
            }
            _ => None,
        }
    }

    /// The destination of a packet; `None` if the socket has only one address.
    pub fn info(&self, index: usize) -> Option<PacketInfo> {
        let length = self.headers[index].msg_hdr.msg_controllen;
        let mut control = self.controls[index];
        let message = ControlMessage::of(&mut control).filter(|_| length > 0);
        message.map(|message| message.info())
    }

    /// The route of the reply to a packet.
    pub fn route(&self, index: usize) -> ReplyRoute {
        ReplyRoute {
            address: self.addresses[index],
            address_length: self.headers[index].msg_hdr.msg_namelen,
            control: self.controls[index],
            control_length: self.headers[index].msg_hdr.msg_controllen,
        }
    }
}

/// Where a packet was received.
#[derive(Debug, Clone, Copy)]
pub struct PacketInfo {
    /// The destination address.
    pub destination: IpAddr,
    /// The index of the interface.
    pub interface: u32,
}

/// The destination and the source address of a reply.
pub struct ReplyRoute {
    address: sockaddr_storage,
    address_length: socklen_t,
    control: ControlBuffer,
    control_length: usize,
}

/// A reply with its route.
pub struct RoutedReply {
    pub route: ReplyRoute,
    pub octets: Vec<u8>,
}

/// Sends replies that were not ready with their batches, and clears the list. Replies
/// that cannot be sent are lost.
pub fn send_replies(socket: RawFd, replies: &mut Vec<RoutedReply>) {
    let vector = |reply: &mut RoutedReply| iovec {
        iov_base: reply.octets.as_mut_ptr().cast(),
        iov_len: reply.octets.len(),
    };
    let mut vectors: Vec<iovec> = replies.iter_mut().map(vector).collect();
    let routes = replies.iter_mut().map(|reply| &mut reply.route);
    let header = |(route, vector): (&mut ReplyRoute, &mut iovec)| {
        // SAFETY: the type consists of integers and pointers, for which zero is a valid
        // value.
        let mut message: mmsghdr = unsafe { mem::zeroed() };
        let header = &mut message.msg_hdr;
        header.msg_name = (&raw mut route.address).cast();
        header.msg_namelen = route.address_length;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        if route.control_length > 0 {
            set_reply_source(&mut route.control);
            header.msg_control = route.control.0.as_mut_ptr().cast();
            header.msg_controllen = route.control_length;
        }
        message
    };
    let mut headers: Vec<mmsghdr> = routes.zip(&mut vectors).map(header).collect();
    send_all(socket, &mut headers);
    replies.clear();
}

/// Sends packets. A packet that cannot be sent, for example because there is no route
/// to its destination, is skipped.
fn send_all(socket: RawFd, headers: &mut [mmsghdr]) {
    let mut remaining = headers;
    while !remaining.is_empty() {
        let count = remaining.len() as u32;
        // SAFETY: `remaining` is a slice of headers, all of which point to buffers that
        // the caller keeps alive.
        let sent = unsafe { sendmmsg(socket, remaining.as_mut_ptr(), count, 0) };
        let done = match usize::try_from(sent) {
            Ok(sent) if sent > 0 => sent,
            _ => {
                tracing::debug!("cannot send a reply: {}", io::Error::last_os_error());
                1
            }
        };
        remaining = &mut remaining[done..];
    }
}

/// A control message with the destination of a packet.
enum ControlMessage<'c> {
    V4(&'c mut in_pktinfo),
    V6(&'c mut in6_pktinfo),
}

impl<'c> ControlMessage<'c> {
    /// Reads a control message that the kernel has written.
    fn of(control: &'c mut ControlBuffer) -> Option<Self> {
        // SAFETY: a control message starts with its header, for which `ControlBuffer` is
        // sufficiently large and aligned.
        let header = unsafe { *control.0.as_ptr().cast::<cmsghdr>() };
        let data = mem::size_of::<cmsghdr>();
        match (header.cmsg_level, header.cmsg_type) {
            (IPPROTO_IP, IP_PKTINFO) => {
                debug_assert!(data + mem::size_of::<in_pktinfo>() <= control.0.len());
                // SAFETY: the type determines what follows the header, and its
                // alignment is not stricter than that of the header.
                let info = unsafe { &mut *control.0[data..].as_mut_ptr().cast() };
                Some(Self::V4(info))
            }
            (IPPROTO_IPV6, IPV6_PKTINFO) => {
                debug_assert!(data + mem::size_of::<in6_pktinfo>() <= control.0.len());
                // SAFETY: as above.
                let info = unsafe { &mut *control.0[data..].as_mut_ptr().cast() };
                Some(Self::V6(info))
            }
            _ => None,
        }
    }

    fn info(&self) -> PacketInfo {
        match self {
            Self::V4(info) => PacketInfo {
                destination: IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()),
                interface: info.ipi_ifindex as u32,
            },
            Self::V6(info) => PacketInfo {
                destination: IpAddr::V6(info.ipi6_addr.s6_addr.into()),
                interface: info.ipi6_ifindex,
            },
        }
    }
}

/// Turns the destination of a packet into the source of its reply. The routing table
/// determines the interface, except for link-local addresses, which require one.
fn set_reply_source(control: &mut ControlBuffer) {
    match ControlMessage::of(control) {
        Some(ControlMessage::V4(info)) => info.ipi_ifindex = 0,
        Some(ControlMessage::V6(info)) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            if !address.is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
        }
        None => {}
    }
}
