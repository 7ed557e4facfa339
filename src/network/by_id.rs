//! The peers of a sequence by their numbers.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{Peer, PeerId, Role, numbered::Numbered};

/// What everyone is told of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRecord {
    pub id: PeerId,
    pub role: Role,
    /// Where other peers reach it.
    pub address: IpAddr,
    pub epoch: u64,
}

impl From<&Peer> for PeerRecord {
    fn from(peer: &Peer) -> Self {
        Self {
            id: peer.id,
            role: peer.role,
            address: peer.holder.address,
            epoch: peer.epoch,
        }
    }
}

/// Who has which number, and what everyone is told of them.
///
/// The latter stands here a second time, so densely that what is asked by ID of
/// a million peers stays in a processor's cache. The peers themselves, with their
/// names and leases, are somewhere in very many more pages of memory,
/// and to go there for each query cost a fifth of all that a query costs.
#[derive(Debug, Clone, Default)]
pub(super) struct PeersById {
    peers: Numbered<Arc<Peer>>,
    brief: Numbered<Compact, COMPACT_RUN>,
}

/// How many stand next to each other: two pages of memory.
const COMPACT_RUN: usize = 512;

/// What is told of a peer, if that goes into sixteen octets.
#[derive(Debug, Clone, Copy)]
enum Compact {
    V4(Ipv4Addr, Role, u64),
    /// Only the peer itself says it.
    Elsewhere,
}

impl Compact {
    fn of(peer: &Peer) -> Self {
        match peer.holder.address {
            IpAddr::V4(address) => Self::V4(address, peer.role, peer.epoch),
            IpAddr::V6(_) => Self::Elsewhere,
        }
    }
}

/// Where it stands who has an ID, or that nobody has.
#[derive(Clone, Copy)]
pub struct IdSlot<'s> {
    id: PeerId,
    brief: &'s Option<Compact>,
    peers: &'s PeersById,
}

impl IdSlot<'_> {
    /// Has the processor fetch it from memory, and does not wait for it.
    pub fn prefetch(&self) {
        black_box(*self.brief);
    }

    /// What everyone is told of the peer that has the ID.
    pub fn record(&self) -> Option<PeerRecord> {
        match *self.brief {
            Some(Compact::V4(address, role, epoch)) => Some(PeerRecord {
                id: self.id,
                role,
                address: address.into(),
                epoch,
            }),
            Some(Compact::Elsewhere) => {
                let peer = self.peers.get(self.id.number)?;
                Some(PeerRecord::from(&**peer))
            }
            None => None,
        }
    }
}

impl PeersById {
    pub fn get(&self, number: u32) -> Option<&Arc<Peer>> {
        self.peers.get(number)
    }

    /// Where it stands who has the number of that ID, in this sequence.
    pub fn slot(&self, id: PeerId) -> Option<IdSlot<'_>> {
        Some(IdSlot {
            id,
            brief: self.brief.place(id.number)?,
            peers: self,
        })
    }

    pub fn contains(&self, number: u32) -> bool {
        self.brief.contains(number)
    }

    /// Puts a peer at its number.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        let number = peer.id.number;
        self.brief.insert(number, Compact::of(&peer));
        self.peers.insert(number, peer);
    }

    pub fn remove(&mut self, number: u32) {
        self.brief.remove(number);
        self.peers.remove(number);
    }

    /// All of them, lowest number first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::Compact;

    /// Where that is not so, what it is for is lost.
    #[test]
    fn it_is_brief() {
        assert_eq!(size_of::<Option<Compact>>(), 16);
    }
}
