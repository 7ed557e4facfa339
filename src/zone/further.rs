//! The records of the master file of a zone.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{LowerName, Name, Record};

/// The records that the master file adds to a zone, by name.
#[derive(Debug, Default)]
pub struct StaticRecords {
    pub(super) by_name: BTreeMap<LowerName, Vec<Record>>,
    /// Names without records that have names below them (RFC 4592, section 2.2.2).
    pub(super) empty_non_terminals: BTreeSet<LowerName>,
}

impl StaticRecords {
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The records at a name.
    pub fn get(&self, name: &Name) -> Option<&[Record]> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(&LowerName::new(name)).map(Vec::as_slice)
    }

    pub fn has_names_below(&self, name: &Name) -> bool {
        !self.empty_non_terminals.is_empty()
            && self.empty_non_terminals.contains(&LowerName::new(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_name.values().flatten()
    }
}
