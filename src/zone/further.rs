//! Records that are no peer's: those of a zone's master file.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{LowerName, Name, Record};

/// The records that a zone file's master file adds to the zone, by name.
#[derive(Debug, Default)]
pub struct Records {
    pub(super) by_name: BTreeMap<LowerName, Vec<Record>>,
    /// Names that have no records but names below them.
    pub(super) above: BTreeSet<LowerName>,
}

impl Records {
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The records at that name, if it is the master file's.
    pub fn at(&self, name: &Name) -> Option<&[Record]> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(&LowerName::new(name)).map(Vec::as_slice)
    }

    pub fn has_names_below(&self, name: &Name) -> bool {
        !self.above.is_empty() && self.above.contains(&LowerName::new(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_name.values().flatten()
    }
}
