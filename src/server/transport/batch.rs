//! Packets by the batch: recvmmsg(2) and sendmmsg(2).
//!
//! The only unsafe code of the crate. rustix has neither call, and nix gives all
//! packets of a batch one control message, where each of ours has its own: the
//! address of ours that it leaves from. Every pointer that the kernel is given points into
//! buffers that the batch owns, which never move or grow while it lives.

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

use crate::server::wire::{PACKETS, UDP_OCTETS};

/// A query is far smaller, and nobody is offered more (see `UDP_OCTETS`): what is
/// longer is cut off, and then is none. Buffers of a page each would take the same
/// few places in the processor's cache from each other; an odd number of its lines
/// does not.
const QUERY_OCTETS: usize = 23 * 64;

/// Room for one control message with an address, aligned as its header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 48]);

/// Has the kernel state of each packet which of our addresses it was sent to.
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
    // SAFETY: the kernel reads as much of `on` as `length` says, which is all of it.
    match unsafe { setsockopt(fd, level, option, (&raw const on).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Packets that were received, and the replies to them.
pub struct Batch {
    packets: Vec<[u8; QUERY_OCTETS]>,
    replies: Vec<Vec<u8>>,
    names: Vec<sockaddr_storage>,
    controls: Vec<Control>,
    /// What is received and what is sent have headers of their own, each with its
    /// vector, so that there is little in them to be set for a packet.
    received: Headers,
    sent: Headers,
    /// How many packets there are.
    count: usize,
    /// How many headers the kernel has written to: of the batch before.
    used: usize,
}

/// Headers of messages, each with the one vector that it points to.
struct Headers {
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
}

// SAFETY: the pointers in `received` and `sent` lead to what the batch owns on
// the heap, and are followed by nobody but the kernel while it is called with
// them; so the thread that owns the batch may change.
unsafe impl Send for Batch {}

impl Batch {
    pub fn new() -> Self {
        // SAFETY: plain integers, for which zero is a value.
        let name = unsafe { mem::zeroed() };
        let mut batch = Self {
            packets: vec![[0; QUERY_OCTETS]; PACKETS],
            replies: (0..PACKETS)
                .map(|_| Vec::with_capacity(UDP_OCTETS.into()))
                .collect(),
            names: vec![name; PACKETS],
            controls: vec![Control([0; 48]); PACKETS],
            received: Headers::new(),
            sent: Headers::new(),
            count: 0,
            used: PACKETS,
        };
        for place in 0..PACKETS {
            batch.received.vectors[place] = iovec {
                iov_base: batch.packets[place].as_mut_ptr().cast(),
                iov_len: QUERY_OCTETS,
            };
            let header = &mut batch.received.headers[place].msg_hdr;
            header.msg_name = (&raw mut batch.names[place]).cast();
            header.msg_control = batch.controls[place].0.as_mut_ptr().cast();
        }
        batch
    }

    /// Waits for a packet, and takes those that are there with it.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2); `WouldBlock` when the socket's time is over.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        for header in &mut self.received.headers[..self.used] {
            header.msg_hdr.msg_namelen = mem::size_of::<sockaddr_storage>() as socklen_t;
            header.msg_hdr.msg_controllen = mem::size_of::<Control>();
        }
        self.count = 0;
        // One may have been written to even where none was received.
        self.used = 1;
        // SAFETY: there are PACKETS headers, and each points to buffers of this
        // batch, which stay where they are, with their true lengths: those that the
        // kernel changes were set here, now or before a batch that did not get so
        // far. No timeout is given.
        let received = unsafe {
            recvmmsg(
                socket,
                self.received.headers.as_mut_ptr(),
                PACKETS as u32,
                MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.used = self.count.max(1);
        Ok(self.count)
    }

    /// The packets, and what becomes of each.
    pub fn parts(&mut self) -> (Packets<'_>, &mut [Vec<u8>]) {
        let packets = Packets {
            packets: &self.packets,
            names: &self.names,
            headers: &self.received.headers[..self.count],
            controls: &self.controls,
        };
        // A reply that stays empty is not sent.
        (packets, &mut self.replies)
    }

    /// Sends the replies that are not empty, and empties them.
    pub fn send(&mut self, socket: RawFd) {
        let mut count = 0;
        let replies = &mut self.replies[..self.count];
        for (place, reply) in replies.iter_mut().enumerate() {
            if reply.is_empty() {
                continue;
            }
            self.sent.vectors[count] = iovec {
                iov_base: reply.as_mut_ptr().cast(),
                iov_len: reply.len(),
            };
            let received = &self.received.headers[place].msg_hdr;
            let control = &mut self.controls[place];
            if received.msg_controllen > 0 {
                leave_from_there(control);
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
        // SAFETY: plain integers and pointers, for which zero is a value.
        let (header, vector): (mmsghdr, iovec) = unsafe { mem::zeroed() };
        let mut vectors = vec![vector; PACKETS];
        let mut headers = vec![header; PACKETS];
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        Self { headers, vectors }
    }
}

/// The packets of a batch, by their places.
#[derive(Clone, Copy)]
pub struct Packets<'b> {
    packets: &'b [[u8; QUERY_OCTETS]],
    names: &'b [sockaddr_storage],
    headers: &'b [mmsghdr],
    controls: &'b [Control],
}

impl<'b> Packets<'b> {
    pub fn packet(&self, place: usize) -> &'b [u8] {
        &self.packets[place][..self.headers[place].msg_len as usize]
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'b [u8]> {
        (0..self.headers.len()).map(move |place| self.packet(place))
    }

    /// Where a packet came from.
    pub fn peer(&self, place: usize) -> Option<SocketAddr> {
        let name = &self.names[place];
        match i32::from(name.ss_family) {
            AF_INET => {
                // SAFETY: the family says that it is a sockaddr_in, which is no
                // larger and no more aligned than a sockaddr_storage.
                let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in>() };
                let ip = u32::from_be(name.sin_addr.s_addr).into();
                let address = SocketAddrV4::new(ip, u16::from_be(name.sin_port));
                Some(SocketAddr::V4(address))
            }
            AF_INET6 => {
                // SAFETY: as above, with sockaddr_in6.
                let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in6>() };
                let ip = name.sin6_addr.s6_addr.into();
                let port = u16::from_be(name.sin6_port);
                let address = SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id);
                Some(SocketAddr::V6(address))
            }
            _ => None,
        }
    }

    /// The way that a packet came; `None` where the socket has only one address.
    pub fn way(&self, place: usize) -> Option<Way> {
        let length = self.headers[place].msg_hdr.msg_controllen;
        let mut control = self.controls[place];
        let info = PacketInfo::of(&mut control).filter(|_| length > 0);
        info.map(|info| info.way())
    }

    /// To whom the reply to a packet goes, and from which of our addresses.
    pub fn route(&self, place: usize) -> Route {
        Route {
            name: self.names[place],
            name_length: self.headers[place].msg_hdr.msg_namelen,
            control: self.controls[place],
            control_length: self.headers[place].msg_hdr.msg_controllen,
        }
    }
}

/// The way that a packet came.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The address of ours that it was sent to.
    pub server: IpAddr,
    /// The index of the interface that it came by.
    pub interface: u32,
}

/// A packet's way back.
pub struct Route {
    name: sockaddr_storage,
    name_length: socklen_t,
    control: Control,
    control_length: usize,
}

/// Sends replies that took longer than their batches, and empties the list. Those
/// that cannot be sent are lost, as packets are.
pub fn send_routes(socket: RawFd, replies: &mut Vec<(Route, Vec<u8>)>) {
    let octets = |reply: &mut Vec<u8>| iovec {
        iov_base: reply.as_mut_ptr().cast(),
        iov_len: reply.len(),
    };
    let mut vectors: Vec<iovec> = replies.iter_mut().map(|(_, it)| octets(it)).collect();
    let routes = replies.iter_mut().map(|(route, _)| route);
    let header = |(route, vector): (&mut Route, &mut iovec)| {
        // SAFETY: plain integers and pointers, for which zero is a value.
        let mut message: mmsghdr = unsafe { mem::zeroed() };
        let header = &mut message.msg_hdr;
        header.msg_name = (&raw mut route.name).cast();
        header.msg_namelen = route.name_length;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        if route.control_length > 0 {
            leave_from_there(&mut route.control);
            header.msg_control = route.control.0.as_mut_ptr().cast();
            header.msg_controllen = route.control_length;
        }
        message
    };
    let mut headers: Vec<mmsghdr> = routes.zip(&mut vectors).map(header).collect();
    send_all(socket, &mut headers);
    replies.clear();
}

/// Sends packets. One that cannot be sent, because nothing leads to its
/// address for example, is passed over.
fn send_all(socket: RawFd, headers: &mut [mmsghdr]) {
    let mut left = headers;
    while !left.is_empty() {
        // SAFETY: `left` is a slice of headers, all of which point to buffers
        // that are alive in the caller.
        let sent = unsafe { sendmmsg(socket, left.as_mut_ptr(), left.len() as u32, 0) };
        let passed = match usize::try_from(sent) {
            Ok(sent) if sent > 0 => sent,
            _ => {
                tracing::debug!("a reply is lost: {}", io::Error::last_os_error());
                1
            }
        };
        left = &mut left[passed..];
    }
}

/// What a control message says of the way that a packet took.
enum PacketInfo<'c> {
    V4(&'c mut in_pktinfo),
    V6(&'c mut in6_pktinfo),
}

impl<'c> PacketInfo<'c> {
    /// Reads the control message, which the kernel has written.
    fn of(control: &'c mut Control) -> Option<Self> {
        // SAFETY: a control message starts with its header, for which `Control` is
        // large enough and aligned.
        let header = unsafe { *control.0.as_ptr().cast::<cmsghdr>() };
        let data = mem::size_of::<cmsghdr>();
        match (header.cmsg_level, header.cmsg_type) {
            (IPPROTO_IP, IP_PKTINFO) => {
                debug_assert!(data + mem::size_of::<in_pktinfo>() <= control.0.len());
                // SAFETY: the type says what stands behind the header, and its
                // alignment is no more than the header's.
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

    fn way(&self) -> Way {
        match self {
            Self::V4(info) => Way {
                server: IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()),
                interface: info.ipi_ifindex as u32,
            },
            Self::V6(info) => Way {
                server: IpAddr::V6(info.ipi6_addr.s6_addr.into()),
                interface: info.ipi6_ifindex,
            },
        }
    }
}

/// Makes of the address that a packet was sent to the one that its reply leaves
/// from. The way out is the routing table's, but for link-local addresses, which
/// need the interface.
fn leave_from_there(control: &mut Control) {
    match PacketInfo::of(control) {
        Some(PacketInfo::V4(info)) => info.ipi_ifindex = 0,
        Some(PacketInfo::V6(info)) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            if !address.is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
        }
        None => {}
    }
}
