//! The source of a message.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The transport protocol of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// The source of a message: its address, its transport, and its connection.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    pub address: SocketAddr,
    /// The IP address. An IPv4-mapped IPv6 address is converted to IPv4.
    pub ip: IpAddr,
    pub transport: Transport,
    /// The address of this server that the message was sent to.
    pub server: IpAddr,
    /// Whether the message was received on the loopback interface, so that no other
    /// machine can have sent it.
    pub is_local: bool,
    /// The current idle timeout of the connection that carried the message.
    pub idle_timeout: Option<Duration>,
}

impl Source {
    /// `server` is the local address of the socket or of the packet. A loopback
    /// address counts as local.
    pub fn new(address: SocketAddr, transport: Transport, server: IpAddr) -> Self {
        let ip = address.ip().to_canonical();
        Self {
            address,
            ip,
            transport,
            server: server.to_canonical(),
            is_local: ip.is_loopback(),
            idle_timeout: None,
        }
    }

    /// Returns whether the transport verifies the source address. A TCP handshake
    /// does, and so does the loopback interface. The source of any other UDP packet
    /// may be forged, unless the message contains a valid cookie.
    pub fn is_verified(&self) -> bool {
        self.transport != Transport::Udp || self.is_local
    }
}
