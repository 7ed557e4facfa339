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

/// A number that nobody may have before all replicas know that this host was released, or
/// has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldNumber {
    pub number: u32,
    pub host: String,
}

/// What is stored of the leases of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLeases {
    /// The numbers whose holders are registered and not live.
    #[serde(rename = "leases")]
    pub ended: Vec<EndedLease>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<WithheldNumber>,
}

/// The leases of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The origin of the zone, absolute and in lower case.
    pub origin: Arc<str>,
    pub place: BlockPlace,
    pub leases: BlockLeases,
}

/// What a commit has changed in a zone, or all that is stored of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneChange {
    /// All registrations of each block.
    pub blocks: BTreeMap<BlockPlace, Vec<Registration>>,
    /// The leases of each block that have ended.
    pub ended: BTreeMap<BlockPlace, BlockLeases>,
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
    /// Whether more of the commit follows: nobody may publish this part of it alone.
    pub is_open: bool,
    /// By origin.
    pub zones: BTreeMap<String, ZoneChange>,
}
