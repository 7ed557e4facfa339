//! Opens the sockets: for each address those for UDP and one for TCP, or one for TLS.

use std::{
    io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use if_addrs::get_if_addrs;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::batch::receive_destinations;
use crate::server::config::{PORT, TLS_PORT};

/// The sockets of one address.
pub struct Listener {
    /// The bound address, with the actual port if it was 0.
    pub address: SocketAddr,
    /// One socket for each core, among which the kernel distributes the clients; none
    /// for TLS.
    pub udp: Vec<UdpSocket>,
    pub tcp: tokio::net::TcpListener,
}

/// All sockets of a service.
pub struct Listeners {
    pub plain: Vec<Listener>,
    pub tls: Vec<Listener>,
}

/// The receive buffer for UDP in bytes, which absorbs bursts. The kernel grants as
/// much as `net.core.rmem_max` allows.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// The buffers of a connection in bytes: for replies that the client has not read, and
/// for queries that the service has not read. The kernel uses twice as much memory.
const TCP_SEND_BUFFER: usize = 64 << 10;
const TCP_RECEIVE_BUFFER: usize = 16 << 10;

/// The read timeout for UDP, after which a loop checks whether the service is stopping.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// The loopback interface.
const LOOPBACK_DEVICE: &[u8] = b"lo";

/// The maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Opens the sockets of these addresses, or of all addresses if there are none.
pub fn open(addresses: &[SocketAddr]) -> anyhow::Result<Vec<Listener>> {
    open_each(addresses, PORT, "--listen", bind)
}

/// Like [`open`], for TLS.
pub fn open_tls(addresses: &[SocketAddr]) -> anyhow::Result<Vec<Listener>> {
    open_each(addresses, TLS_PORT, "`listen` in [tls]", |address| {
        let tcp = tcp(address)?;
        Ok(Listener {
            address: tcp.local_addr()?,
            udp: Vec::new(),
            tcp: tokio::net::TcpListener::from_std(tcp)?,
        })
    })
}

/// `option` names the setting that an error message suggests to change.
fn open_each(
    addresses: &[SocketAddr],
    port: u16,
    option: &str,
    bind: impl Fn(SocketAddr) -> io::Result<Listener>,
) -> anyhow::Result<Vec<Listener>> {
    let everywhere = [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    ];
    // If no address is configured, IPv6 may be unavailable.
    let (addresses, lenient) = match addresses {
        [] => (&everywhere[..], true),
        addresses => (addresses, false),
    };
    let mut listeners = Vec::new();
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if lenient && address.is_ipv6() && is_without_ipv6(&error) => {}
            Err(error) => {
                let remedy = remedy(&error, address.port(), option);
                return Err(anyhow!(error))
                    .with_context(|| format!("cannot listen on {address}: {remedy}"));
            }
        }
    }
    Ok(listeners)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn remedy(error: &io::Error, port: u16, option: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another server uses the port (systemd-resolved, dnsmasq?): stop it or give {option} another address"
        ),
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "ports below 1024 require the capability CAP_NET_BIND_SERVICE: grant it or give {option} a higher port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface has this address: give {option} an address of this machine")
        }
        _ => format!("give {option} another address"),
    }
}

/// Binds UDP and TCP to the address. If the port is 0, both get the same port.
fn bind(address: SocketAddr) -> io::Result<Listener> {
    let mut attempts = 0;
    loop {
        let first = udp(address)?;
        let bound = first.local_addr()?;
        // The TCP port is not shared, which prevents a second service.
        match tcp(bound) {
            Ok(tcp) => {
                let cores = thread::available_parallelism().map_or(1, usize::from);
                let more = (1..cores).map(|_| udp(bound));
                return Ok(Listener {
                    address: bound,
                    udp: iter::once(Ok(first))
                        .chain(more)
                        .collect::<Result<_, _>>()?,
                    tcp: tokio::net::TcpListener::from_std(tcp)?,
                });
            }
            // Another process uses this port for TCP: let the kernel choose again.
            Err(error)
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempts < 16 =>
            {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Creates a socket for one address family only: IPv4 has sockets of its own.
fn socket_for(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket_for(address, Type::DGRAM, Protocol::UDP)?;
    // A socket with a loopback address must receive packets on the loopback interface
    // only. Before Linux 5.7, only a privileged process can bind it to the interface.
    let is_confined =
        address.ip().is_loopback() && socket.bind_device(Some(LOOPBACK_DEVICE)).is_ok();
    // Otherwise, and with the unspecified address, the kernel reports the destination
    // of each packet, from which the reply is sent, and its interface.
    if address.ip().is_unspecified() || (address.ip().is_loopback() && !is_confined) {
        receive_destinations(&socket, address.ip())?;
    }
    socket.set_reuse_port(true)?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    // A smaller buffer is not an error.
    let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address, Type::STREAM, Protocol::TCP)?;
    // Connections of a previous service must not prevent a restart.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit the buffers. By default the kernel would hold megabytes for a
    // client that sends queries and reads no replies.
    socket.set_send_buffer_size(TCP_SEND_BUFFER)?;
    socket.set_recv_buffer_size(TCP_RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The addresses at which the service can be reached, for its `NS` record: those
/// on which it listens; for the unspecified address, those of the interfaces.
pub fn reachable(listeners: &[Listener]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.address.ip();
        if address.is_unspecified() {
            let same_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
            addresses.extend(interfaces().into_iter().filter(same_family));
        } else {
            addresses.push(address);
        }
    }
    if addresses.iter().any(|address| !address.is_loopback()) {
        addresses.retain(|address| !address.is_loopback());
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

/// The addresses of all interfaces except link-local ones.
fn interfaces() -> Vec<IpAddr> {
    let Ok(interfaces) = get_if_addrs() else {
        return vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    };
    interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        })
        .collect()
}
