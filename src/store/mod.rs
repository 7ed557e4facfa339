//! Durability: what must survive when the machine goes down.
//!
//! The rule of this floor: [`Store::commit`] returns when all of its writes
//! are on disk, or none is. It knows nothing of leases, DNS or zone files; a
//! registration is kept by the names of its role and sequence, so that a zone
//! file may be rearranged between two starts.

mod registration;
mod sled;

use std::{path::PathBuf, sync::Arc};

pub use self::registration::{Pin, Registration};
pub use self::sled::SledStore;

/// Where registrations are kept.
pub trait Store: Send {
    /// Everything that is stored of the zone with that origin (absolute, in
    /// lower case).
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError>;

    /// The origins of which anything is stored.
    fn origins(&mut self) -> Result<Vec<String>, StoreError>;

    /// Makes all of these writes durable, in one flush. After an error none of
    /// them may be relied on, and a later commit may well succeed.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;
}

/// What is stored of one zone.
#[derive(Debug, Default)]
pub struct Contents {
    pub registrations: Vec<Registration>,
    pub pins: Vec<Pin>,
    /// All SOA serials below this one may have been published.
    pub serial: u64,
}

/// One write. `origin` is absolute and in lower case.
#[derive(Debug, Clone)]
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

/// What a store can fail at. The first three end a start, the last a commit.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{} is in use by another process: stop the service that runs on it, or give another --data",
        path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "{} is damaged ({reason}): move it away and fill an empty store from the last dump (see the directory dumps beside it) with `paramd restore FILE`",
        path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    #[error(
        "cannot open {}: {reason}; see that the disk has room and that the directory may be written",
        path.display()
    )]
    Unusable { path: PathBuf, reason: String },
    #[error("cannot write to {}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}
