//! Durability: what must survive when the machine goes down.
//!
//! The rule of this floor: [`Store::commit`] returns when all of its writes
//! are on disk, or none is. It knows nothing of leases, DNS or zone files; a
//! registration is kept by the names of its role and sequence, so that a zone
//! file may be rearranged between two starts.
//!
//! A data directory holds everything twice: in the database, which serves a
//! start quickly, and in dumps and a journal, which are plain text and bring the
//! database back when it is lost.
//!
//! | in the data directory | what it is | module |
//! | --- | --- | --- |
//! | `peers.sled/` | the database | `sled` |
//! | `journal/` | every commit since the dumps | [`journal`] |
//! | `dumps/ORIGIN/` | each zone as it was at some commit | [`dumps`] |
//! | `witness` | how many commits were acknowledged | `witness` |
//! | `identity` | which data directory all of this belongs to | `identity` |
//! | `lock` | locked by the process that uses the directory | `sled` |
//!
//! [`local`] keeps them in step and makes a lost database anew, [`chain`] reads a
//! zone from dumps and journal, `checksum` and `files` are what the others share.

pub mod chain;
mod checksum;
pub mod dumps;
pub(crate) mod files;
mod identity;
pub mod journal;
pub mod local;
mod registration;
mod sled;
mod witness;

use std::{path::PathBuf, sync::Arc};

pub use self::identity::Identity;
pub use self::local::LocalStore;
pub use self::registration::{Pin, Registration};
pub use self::sled::SledStore;

/// How far a serial goes on above the last one that is known, where others may
/// have been published since: further than a service can have counted between
/// two dumps.
pub const SERIALS_LATER: u64 = 1 << 20;

/// Where registrations are kept.
pub trait Store: Send {
    /// Everything that is stored of the zone with that origin (absolute, in
    /// lower case).
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError>;

    /// The origins of which anything is stored.
    fn origins(&mut self) -> Result<Vec<String>, StoreError>;

    /// Makes all of these writes durable, in one flush; gives the number of the
    /// commit, which is higher than that of every commit before. After an error
    /// none of the writes may be relied on, and a later commit may well succeed.
    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError>;
}

/// What is stored of one zone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Contents {
    pub registrations: Vec<Registration>,
    pub pins: Vec<Pin>,
    /// All SOA serials below this one may have been published. 0 where the store
    /// has never had anything of the zone.
    pub serial: u64,
    /// The number of the last commit of the store.
    pub commit: u64,
    /// The number of the last commit that changed a registration or a pin of the
    /// zone, or a higher one where that is not known.
    pub changed: u64,
}

impl Contents {
    /// Whether there is anybody to whom an ID belongs.
    pub fn names_peers(&self) -> bool {
        !self.registrations.is_empty() || !self.pins.is_empty()
    }

    /// What fills a store that has nothing of the zone.
    pub fn writes(&self, origin: &str) -> Vec<Write> {
        let origin: Arc<str> = origin.into();
        let serial = Write::Serial {
            origin: origin.clone(),
            serial: self.serial,
        };
        let puts = self.registrations.iter().map(|registration| Write::Put {
            origin: origin.clone(),
            registration: registration.clone(),
        });
        let pins = self.pins.iter().map(|pin| Write::Pin {
            origin: origin.clone(),
            pin: pin.clone(),
        });
        std::iter::once(serial).chain(puts).chain(pins).collect()
    }
}

/// One write. `origin` is absolute and in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The host has this ID, and nobody else has.
    Put {
        origin: Arc<str>,
        registration: Registration,
    },
    /// The host no longer has that ID.
    Delete {
        origin: Arc<str>,
        host: String,
        sequence: String,
        number: u32,
    },
    Pin {
        origin: Arc<str>,
        pin: Pin,
    },
    Unpin {
        origin: Arc<str>,
        host: String,
    },
    /// Serials below this one may be published from now on.
    Serial {
        origin: Arc<str>,
        serial: u64,
    },
}

impl Write {
    /// The origin of the zone that it is about.
    pub fn origin(&self) -> &Arc<str> {
        match self {
            Self::Put { origin, .. }
            | Self::Delete { origin, .. }
            | Self::Pin { origin, .. }
            | Self::Unpin { origin, .. }
            | Self::Serial { origin, .. } => origin,
        }
    }

    /// Whether it is about a registration or a pin.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Serial { .. })
    }
}

/// What a store can fail at: all but the last end a start, the last a commit.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{} is in use by another process: stop the service that runs on it, or give another --data",
        path.display()
    )]
    Locked { path: PathBuf },
    /// It cannot be read, or lacks what was acknowledged.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// It has nothing of what the files beside it know of.
    #[error("{} is empty, but {reason}", path.display())]
    Missing { path: PathBuf, reason: String },
    /// It was made in another data directory.
    #[error("{} belongs to another data directory", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "cannot open {}: {reason}; see that the disk has room and that the directory may be written",
        path.display()
    )]
    Unusable { path: PathBuf, reason: String },
    #[error("cannot write to {}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}
