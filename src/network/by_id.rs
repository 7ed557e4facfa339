//! The peers of a sequence, indexed by number.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{Peer, PeerId, Role, numbered::Numbered};
use crate::prefetch::prefetch;

/// The public data of a peer: what an answer about it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRecord {
    pub id: PeerId,
    pub role: Role,
    /// The address at which other peers reach it.
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

/// The peers of a sequence, and a compact copy of their public data.
///
/// The copy is so dense that the data for queries by ID stays in the processor's
/// cache even with a million peers. The peers themselves, with their names and
/// leases, are spread over many more pages of memory; reading them for each query
/// took a fifth of the cost of a query.
#[derive(Debug, Clone, Default)]
pub(super) struct PeersById {
    peers: Numbered<Arc<Peer>>,
    records: Numbered<CompactRecord, COMPACT_LEAF>,
}

/// The number of contiguous compact records: two pages of memory.
const COMPACT_LEAF: usize = 512;

/// The public data of a peer in sixteen bytes.
#[derive(Debug, Clone, Copy)]
enum CompactRecord {
    V4(Ipv4Addr, Role, u64),
    /// An IPv6 address does not fit: the data is read from the peer itself.
    V6,
}

impl CompactRecord {
    fn of(peer: &Peer) -> Self {
        match peer.holder.address {
            IpAddr::V4(address) => Self::V4(address, peer.role, peer.epoch),
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The slot of an ID in memory, which may be empty.
#[derive(Clone, Copy)]
pub struct IdSlot<'s> {
    id: PeerId,
    record: &'s Option<CompactRecord>,
    peers: &'s PeersById,
}

impl IdSlot<'_> {
    /// Makes the processor fetch the slot from memory, without waiting for it.
    pub fn prefetch(&self) {
        prefetch(self.record);
    }

    /// The public data of the peer that has the ID.
    pub fn record(&self) -> Option<PeerRecord> {
        match *self.record {
            Some(CompactRecord::V4(address, role, epoch)) => Some(PeerRecord {
                id: self.id,
                role,
                address: address.into(),
                epoch,
            }),
            Some(CompactRecord::V6) => {
                let peer = self.peers.get(self.id.number)?;
                Some(PeerRecord::from(&**peer))
            }
            None => None,
        }
    }
}

impl PeersById {
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn get(&self, number: u32) -> Option<&Arc<Peer>> {
        self.peers.get(number)
    }

    /// The slot of an ID of this sequence.
    pub fn slot(&self, id: PeerId) -> Option<IdSlot<'_>> {
        Some(IdSlot {
            id,
            record: self.records.slot(id.number)?,
            peers: self,
        })
    }

    pub fn contains(&self, number: u32) -> bool {
        self.records.contains(number)
    }

    /// Inserts a peer at its number.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        let number = peer.id.number;
        self.records.insert(number, CompactRecord::of(&peer));
        self.peers.insert(number, peer);
    }

    pub fn remove(&mut self, number: u32) {
        self.records.remove(number);
        self.peers.remove(number);
    }

    /// All peers, lowest number first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::CompactRecord;

    /// A larger record would defeat the purpose of the copy.
    #[test]
    fn a_compact_record_has_sixteen_bytes() {
        assert_eq!(size_of::<Option<CompactRecord>>(), 16);
    }
}
