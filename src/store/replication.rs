//! What replicas of the service learn from a store that they share: everything that is
//! stored at one moment, and then each commit.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Pin, Registration};

/// The number of registrations in a block: those of consecutive numbers are stored
/// together.
pub use super::block::NUMBERS as BLOCK;

/// The place of a block: its sequence, and its first number divided by [`BLOCK`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockPlace {
    pub sequence: String,
    pub index: u32,
}

/// A lease that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedLease {
    pub number: u32,
    /// Differs if the lease of the number has run in between and ended again.
    pub mark: u64,
}

/// The numbers of a block whose holders are registered and not live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The origin of the zone, absolute and in lower case.
    pub origin: Arc<str>,
    pub place: BlockPlace,
    pub leases: Vec<EndedLease>,
}

/// What a commit has changed in a zone, or all that is stored of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneChange {
    /// All registrations of each block.
    pub blocks: BTreeMap<BlockPlace, Vec<Registration>>,
    /// The leases of each block that have ended.
    pub ended: BTreeMap<BlockPlace, Vec<EndedLease>>,
    /// The pin of each host; `None` if it was removed.
    pub pins: BTreeMap<String, Option<Pin>>,
    /// The first serial that was never published.
    pub serial: Option<u64>,
    /// The number of the last commit that changed a registration or a pin.
    pub changed: Option<u64>,
}

impl ZoneChange {
    /// Whether a host has or is reserved an ID.
    pub fn names_peers(&self) -> bool {
        self.blocks.values().any(|block| !block.is_empty())
            || self.pins.values().any(Option::is_some)
    }

    /// Adds what a later commit has changed.
    pub fn extend(&mut self, later: Self) {
        self.blocks.extend(later.blocks);
        self.ended.extend(later.ended);
        self.pins.extend(later.pins);
        self.serial = later.serial.or(self.serial);
        self.changed = later.changed.or(self.changed);
    }
}

/// A commit, or everything up to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The number of the commit.
    pub commit: u64,
    /// By origin.
    pub zones: BTreeMap<String, ZoneChange>,
}
