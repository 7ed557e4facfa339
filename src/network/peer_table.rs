//! The peers of a sequence by number.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{Peer, PeerId, Role, number_map::NumberMap};

/// What is published about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerSummary {
    pub id: PeerId,
    pub role: Role,
    /// The address at which other peers reach it.
    pub address: IpAddr,
    pub epoch: u64,
}

impl From<&Peer> for PeerSummary {
    fn from(peer: &Peer) -> Self {
        Self {
            id: peer.id,
            role: peer.role,
            address: peer.holder.address,
            epoch: peer.epoch,
        }
    }
}

/// The peers by number, and a summary of each.
///
/// The summaries duplicate part of the peers, densely enough that with a million
/// peers, lookups by ID hit the processor's cache. The peers themselves, with
/// their names and leases, are spread over many more pages of memory, and reading
/// one for each query cost a fifth of the time of a query.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerTable {
    peers: NumberMap<Arc<Peer>>,
    summaries: NumberMap<PackedSummary, SUMMARIES>,
}

/// How many summaries are stored next to each other: two pages of memory.
const SUMMARIES: usize = 512;

/// The summary of a peer, if it fits into sixteen bytes.
#[derive(Debug, Clone, Copy)]
enum PackedSummary {
    V4 {
        address: Ipv4Addr,
        role: Role,
        epoch: u64,
    },
    /// It does not fit: read the peer.
    Unpacked,
}

impl PackedSummary {
    fn of(peer: &Peer) -> Self {
        match peer.holder.address {
            IpAddr::V4(address) => Self::V4 {
                address,
                role: peer.role,
                epoch: peer.epoch,
            },
            IpAddr::V6(_) => Self::Unpacked,
        }
    }
}

/// The place of a number in the table, occupied or not.
#[derive(Clone, Copy)]
pub struct Slot<'s> {
    id: PeerId,
    summary: &'s Option<PackedSummary>,
    table: &'s PeerTable,
}

impl Slot<'_> {
    /// Loads the summary into the processor's cache without waiting for it.
    pub fn prefetch(&self) {
        black_box(*self.summary);
    }

    /// The summary of the peer that has the number.
    pub fn summary(&self) -> Option<PeerSummary> {
        match *self.summary {
            Some(PackedSummary::V4 {
                address,
                role,
                epoch,
            }) => Some(PeerSummary {
                id: self.id,
                role,
                address: address.into(),
                epoch,
            }),
            Some(PackedSummary::Unpacked) => {
                let peer = self.table.get(self.id.number)?;
                Some(PeerSummary::from(&**peer))
            }
            None => None,
        }
    }
}

impl PeerTable {
    pub fn get(&self, number: u32) -> Option<&Arc<Peer>> {
        self.peers.get(number)
    }

    /// The place of the ID's number in this sequence.
    pub fn slot(&self, id: PeerId) -> Option<Slot<'_>> {
        Some(Slot {
            id,
            summary: self.summaries.place(id.number)?,
            table: self,
        })
    }

    pub fn contains(&self, number: u32) -> bool {
        self.summaries.contains(number)
    }

    /// Inserts a peer at its number.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        let number = peer.id.number;
        self.summaries.insert(number, PackedSummary::of(&peer));
        self.peers.insert(number, peer);
    }

    pub fn remove(&mut self, number: u32) {
        self.summaries.remove(number);
        self.peers.remove(number);
    }

    /// All peers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::PackedSummary;

    /// A larger entry would defeat the purpose of the packed form.
    #[test]
    fn a_packed_summary_has_sixteen_bytes() {
        assert_eq!(size_of::<Option<PackedSummary>>(), 16);
    }
}
