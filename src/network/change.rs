//! What a decision changes.

use std::sync::Arc;

use super::{Hostname, Peer, PeerId};

/// What must be made durable before anyone may be told of it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The host is registered so.
    Put(Arc<Peer>),
    /// The host no longer has that number.
    Delete(Hostname, PeerId),
    /// The number is kept for the host.
    Pin(Hostname, PeerId),
    /// No number is kept for the host any more.
    Unpin(Hostname),
}

impl Change {
    /// Whom it concerns.
    pub fn host(&self) -> &Hostname {
        match self {
            Self::Put(peer) => &peer.host,
            Self::Delete(host, _) | Self::Pin(host, _) | Self::Unpin(host) => host,
        }
    }

    /// The number that is given or taken away.
    pub fn id(&self) -> Option<PeerId> {
        match self {
            Self::Put(peer) => Some(peer.id),
            Self::Delete(_, id) => Some(*id),
            Self::Pin(..) | Self::Unpin(_) => None,
        }
    }
}
