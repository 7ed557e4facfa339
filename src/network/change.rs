//! The changes that a decision makes.

use std::sync::Arc;

use super::{Hostname, Peer, PeerId};

/// A change that must be durable before any client may learn of it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The host is registered with this data.
    Put(Arc<Peer>),
    /// The host no longer has this ID.
    Delete(Hostname, PeerId),
    /// The ID is reserved for the host.
    Pin(Hostname, PeerId),
    /// No ID is reserved for the host any more.
    Unpin(Hostname),
}

impl Change {
    /// The host that changes.
    pub fn host(&self) -> &Hostname {
        match self {
            Self::Put(peer) => &peer.host,
            Self::Delete(host, _) | Self::Pin(host, _) | Self::Unpin(host) => host,
        }
    }

    /// The ID that is assigned or removed.
    pub fn id(&self) -> Option<PeerId> {
        match self {
            Self::Put(peer) => Some(peer.id),
            Self::Delete(_, id) => Some(*id),
            Self::Pin(..) | Self::Unpin(_) => None,
        }
    }
}
