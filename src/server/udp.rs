//! The UDP loop: one for each socket.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::{
    cmsg_space,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
    },
};
use tokio::{io::Interest, net::UdpSocket, sync::watch, time::timeout};
use tracing::debug;

use super::{
    PATIENCE, Shared,
    handler::Outcome,
    source::{Source, Transport},
};

/// A query is far smaller; what is longer cannot be one for this service.
const QUERY_OCTETS: usize = 4_096;

/// A packet's way back: to whom, and from which of our addresses.
#[derive(Debug, Clone, Copy)]
struct Route {
    peer: SocketAddr,
    local: Option<Local>,
}

/// What the kernel said of the address that a packet was sent to. Given back
/// with the answer, it makes that leave from the same address.
#[derive(Debug, Clone, Copy)]
enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

pub async fn run(
    socket: UdpSocket,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; QUERY_OCTETS];
    loop {
        let received = tokio::select! {
            received = socket.async_io(Interest::READABLE, || receive(&socket, &mut buffer)) => received,
            _ = stopping.changed() => return Ok(()),
        };
        let (length, route) = match received {
            Ok(received) => received,
            Err(error) if is_passing(&error) => {
                debug!("receiving: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let source = Source::new(route.peer, Transport::Udp);
        match shared.handler.handle(&buffer[..length], source) {
            Outcome::Silence => {}
            Outcome::Reply(reply) => reply_to(&socket, &reply, route).await,
            Outcome::Later(reply) => {
                let Ok(permit) = shared.pending.clone().try_acquire_owned() else {
                    continue;
                };
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Ok(Some(reply)) = timeout(PATIENCE, reply).await {
                        reply_to(&socket, &reply, route).await;
                    }
                    drop(permit);
                });
            }
            // The handler transfers by TCP alone.
            Outcome::Transfer(_) => {}
        }
    }
}

/// Errors that concern one packet, not the socket: an answer that found nobody
/// (reported on the socket by ICMP), or a moment without memory.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::Interrupted
            | Kind::OutOfMemory
            | Kind::WouldBlock
    )
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Route)> {
    let mut control = cmsg_space!(in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let local = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
        _ => None,
    });
    let peer = message
        .address
        .as_ref()
        .and_then(socket_address)
        .ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))?;
    Ok((message.bytes, Route { peer, local }))
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    let v6 = || {
        storage
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
    };
    v4.or_else(v6)
}

async fn reply_to(socket: &UdpSocket, reply: &[u8], route: Route) {
    // An address that no packet can be sent to was forged.
    if route.peer.port() == 0 || route.peer.ip().is_unspecified() {
        return;
    }
    let sent = socket.async_io(Interest::WRITABLE, || send(socket, reply, route));
    if let Err(error) = sent.await {
        debug!("answering {}: {error}", route.peer);
    }
}

fn send(socket: &UdpSocket, reply: &[u8], route: Route) -> io::Result<()> {
    let peer = SockaddrStorage::from(route.peer);
    let slices = [IoSlice::new(reply)];
    let (v4, v6);
    let control = match route.local {
        Some(Local::V4(info)) => {
            v4 = source_v4(info);
            vec![ControlMessage::Ipv4PacketInfo(&v4)]
        }
        Some(Local::V6(info)) => {
            v6 = source_v6(info, route.peer.ip());
            vec![ControlMessage::Ipv6PacketInfo(&v6)]
        }
        None => vec![],
    };
    sendmsg(
        socket.as_raw_fd(),
        &slices,
        &control,
        MsgFlags::empty(),
        Some(&peer),
    )?;
    Ok(())
}

/// Only the source address is asked for; the way out is the routing table's.
fn source_v4(info: in_pktinfo) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: info.ipi_spec_dst,
        ipi_addr: info.ipi_addr,
    }
}

/// A link-local peer needs the interface, others the routing table.
fn source_v6(info: in6_pktinfo, peer: IpAddr) -> in6_pktinfo {
    let link_local = matches!(peer, IpAddr::V6(v6) if v6.is_unicast_link_local());
    in6_pktinfo {
        ipi6_ifindex: if link_local { info.ipi6_ifindex } else { 0 },
        ..info
    }
}
