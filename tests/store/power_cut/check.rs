//! Verifies that a disk has what was acknowledged before the power failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use param_daemon::store::{LocalStore, Store, local::OpenMode};

use super::workload::{Acknowledged, ORIGIN};

/// What is wrong with a data directory after a failure.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be opened, for this reason.
    Refused(String),
    /// It can be opened, and this is missing or wrong.
    Lost(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Lost(what) => write!(f, "lost: {what}"),
        }
    }
}

/// Opens the store in a data directory, as a service does, and compares.
pub fn check(data: &Path, acknowledged: &Acknowledged) -> Result<(), Fault> {
    let refused = |error: &dyn std::fmt::Display| Fault::Refused(error.to_string());
    let mut store = crate::common::unlocked(|| LocalStore::open(data, OpenMode::Serve))
        .map_err(|error| refused(&error))?;
    let contents = store.load(ORIGIN).map_err(|error| refused(&error))?;
    let mut ids = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for it in contents.registrations {
        let id = format!("{}{}", it.sequence, it.number);
        if !taken.insert(id.clone()) {
            return Err(Fault::Lost(format!("{id} has two hosts")));
        }
        if let Some(earlier) = ids.insert(it.host.clone(), id) {
            return Err(Fault::Lost(format!("{} is also {earlier}", it.host)));
        }
    }
    for (host, id) in &acknowledged.ids {
        if ids.get(host) != Some(id) {
            let now = ids.get(host);
            return Err(Fault::Lost(format!("{host} was {id} and is {now:?}")));
        }
    }
    if acknowledged.serial > 0 && contents.serial <= acknowledged.serial {
        let (now, then) = (contents.serial, acknowledged.serial);
        return Err(Fault::Lost(format!("the serial was {then} and is {now}")));
    }
    Ok(())
}
