//! Where a message came from.

use std::net::{IpAddr, SocketAddr};

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Where a message came from, and how.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    pub address: SocketAddr,
    /// Of the address, an IPv4 one as such even if it came over an IPv6 socket.
    pub ip: IpAddr,
    pub transport: Transport,
    /// The address at which the service was asked.
    pub server: IpAddr,
}

impl Source {
    /// `server` is the local address of the socket, or of the packet.
    pub fn new(address: SocketAddr, transport: Transport, server: IpAddr) -> Self {
        Self {
            address,
            ip: address.ip().to_canonical(),
            transport,
            server: server.to_canonical(),
        }
    }

    /// Whether whoever sent the message really receives at its address, whatever
    /// the message says. A TCP handshake proves it, and no packet from elsewhere
    /// has a loopback source. The source of any other UDP packet may be forged,
    /// unless the message has a good cookie.
    pub fn is_proven(&self) -> bool {
        self.transport == Transport::Tcp || self.ip.is_loopback()
    }
}
