//! Which leases have ended, and which IDs are withheld, as it is stored for the replicas of
//! the service.
//!
//! A store of one service does not keep this: after a restart, every peer counts as live.
//! Replicas must agree on it, so the writer stores it before it publishes it. It is stored
//! for blocks of numbers, like the registrations themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    network::{Change, Network, Sequence},
    store::replication::{BLOCK, BlockLeases, EndedLease, WithheldNumber},
};

/// The place of a block: the index of its zone, its sequence, and its first number
/// divided by [`BLOCK`].
pub(super) type Place = (usize, Sequence, u32);

/// What the store has of all blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EndedLeases {
    /// The blocks in which leases have ended, or numbers are withheld.
    stored: BTreeMap<Place, BlockLeases>,
    /// The blocks of which a failed commit may have stored something.
    uncertain: BTreeSet<Place>,
}

impl EndedLeases {
    /// The leases of a block, if there is anything to store.
    pub fn of(&self, place: Place) -> Option<&BlockLeases> {
        self.stored.get(&place)
    }

    /// Notes what is stored of a block.
    pub fn set(&mut self, place: Place, leases: BlockLeases) {
        if leases == BlockLeases::default() {
            self.stored.remove(&place);
        } else {
            self.stored.insert(place, leases);
        }
    }

    /// The blocks of a zone of which there is anything.
    pub fn places(&self, zone: usize) -> impl Iterator<Item = (Sequence, u32)> {
        let all = self.stored.keys().filter(move |place| place.0 == zone);
        all.map(|(_, sequence, index)| (*sequence, *index))
    }

    /// The blocks that must be stored, where the networks follow those `before`.
    pub fn differences(
        &self,
        before: &[Arc<Network>],
        networks: &[Network],
        changes: &[(usize, Change)],
    ) -> Vec<(Place, BlockLeases)> {
        let mut places = self.uncertain.clone();
        for (zone, (network, before)) in networks.iter().zip(before).enumerate() {
            let ids = network.liveness_changes(before).into_iter();
            let ids = ids.chain(network.withheld_changes(before));
            places.extend(ids.map(|id| (zone, id.sequence, id.number / BLOCK)));
        }
        let ids = changes
            .iter()
            .filter_map(|(zone, it)| Some((zone, it.id()?)));
        places.extend(ids.map(|(zone, id)| (*zone, id.sequence, id.number / BLOCK)));
        let blocks = places.into_iter().filter_map(|place| {
            let (zone, sequence, index) = place;
            let first = index * BLOCK;
            let numbers = first..first.saturating_add(BLOCK);
            let ended = networks[zone].ended_in(sequence, numbers.clone());
            let ended = ended.into_iter();
            let withheld = networks[zone].withheld_in(sequence, numbers);
            let leases = BlockLeases {
                ended: ended
                    .map(|(number, at)| EndedLease { number, mark: at.0 })
                    .collect(),
                withheld: withheld
                    .map(|(number, host)| WithheldNumber {
                        number,
                        host: host.to_string(),
                    })
                    .collect(),
            };
            let is_stored = *self.of(place).unwrap_or(&BlockLeases::default()) == leases;
            let is_due = !is_stored || self.uncertain.contains(&place);
            is_due.then_some((place, leases))
        });
        blocks.collect()
    }

    /// Notes that these blocks were stored, or that it is unknown what was.
    pub fn note(&mut self, blocks: Vec<(Place, BlockLeases)>, is_written: bool) {
        for (place, leases) in blocks {
            if is_written {
                self.uncertain.remove(&place);
                self.set(place, leases);
            } else {
                self.uncertain.insert(place);
            }
        }
    }
}
