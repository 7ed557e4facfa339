//! Where a message came from.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
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
    /// Whether the message came by the loopback interface, so that nobody on the
    /// wire can have sent it.
    pub is_local: bool,
    /// How long the connection that the message came by may be idle now.
    pub idle: Option<Duration>,
}

impl Source {
    /// `server` is the local address of the socket, or of the packet. A source with
    /// a loopback address is taken for local; see [`from_interface`].
    ///
    /// [`from_interface`]: Self::from_interface
    pub fn new(address: SocketAddr, transport: Transport, server: IpAddr) -> Self {
        let ip = address.ip().to_canonical();
        Self {
            address,
            ip,
            transport,
            server: server.to_canonical(),
            is_local: ip.is_loopback(),
            idle: None,
        }
    }

    /// The same source of a message that came by the loopback interface, or by
    /// another one. A kernel that routes loopback addresses (`route_localnet`) takes
    /// packets from the wire that claim to come from one.
    pub fn from_interface(self, is_loopback: bool) -> Self {
        Self {
            is_local: self.is_local && is_loopback,
            ..self
        }
    }

    /// The same source, of a connection that may be idle for so long.
    pub fn on_connection(self, idle: Duration) -> Self {
        Self {
            idle: Some(idle),
            ..self
        }
    }

    /// Whether whoever sent the message really receives at its address, whatever
    /// the message says. A TCP handshake proves it, and so does the loopback
    /// interface. The source of any other UDP packet may be forged, unless the
    /// message has a good cookie.
    pub fn is_proven(&self) -> bool {
        self.transport != Transport::Udp || self.is_local
    }
}
