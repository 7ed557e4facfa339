//! A registered host, and who holds its registration.

use std::net::IpAddr;

use super::{Hostname, Lease, PeerId, Role};

/// Who holds a registration: whoever asks from `source` and states `address`.
/// Either alone is not enough, since a neighbour can state another's address,
/// and containers behind one node's masquerading share their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Where its queries come from.
    pub source: IpAddr,
    /// Where other peers reach it.
    pub address: IpAddr,
}

/// A registered host.
#[derive(Debug)]
pub struct Peer {
    pub host: Hostname,
    pub id: PeerId,
    pub role: Role,
    pub holder: Holder,
    /// Rises whenever an ID gets another holder, and never falls: the revision of
    /// the network at which this holder was registered. Of two processes that were
    /// told one ID, the one with the lower epoch has lost it.
    pub epoch: u64,
    /// Shared with everyone who has seen this peer; a heartbeat writes here.
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
