//! A registered host, and the holder of its registration.

use std::net::IpAddr;

use super::{Hostname, Lease, PeerId, Role};

/// The holder of a registration: the client that queries from `source` and states
/// `address`. Either alone does not identify it, since a neighbour can state
/// another's address, and containers behind the masquerading of a node share their
/// source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The source address of its queries.
    pub source: IpAddr,
    /// The address at which other peers reach it.
    pub address: IpAddr,
}

/// A registered host.
#[derive(Debug)]
pub struct Peer {
    pub host: Hostname,
    pub id: PeerId,
    pub role: Role,
    pub holder: Holder,
    /// The revision of the network at which this holder was registered. It rises
    /// whenever the ID passes to another holder, and never falls: of two processes
    /// with one ID, the one with the lower epoch has lost it.
    pub epoch: u64,
    /// Shared by all states of the network that contain this peer; a heartbeat
    /// updates it.
    pub lease: Lease,
}

/// A registration as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPeer {
    pub host: Hostname,
    pub id: PeerId,
    pub role: Role,
    pub holder: Holder,
    pub epoch: u64,
}

impl StoredPeer {
    /// Whether this is what is stored of the peer.
    pub(super) fn is_that_of(&self, peer: &Peer) -> bool {
        (&self.host, self.id, self.role, self.holder, self.epoch)
            == (&peer.host, peer.id, peer.role, peer.holder, peer.epoch)
    }

    pub(super) fn with_lease(self, lease: Lease) -> Peer {
        Peer {
            host: self.host,
            id: self.id,
            role: self.role,
            holder: self.holder,
            epoch: self.epoch,
            lease,
        }
    }
}
