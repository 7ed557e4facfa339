//! Durability: what must survive a crash.
//!
//! [`Store::commit`] returns when all of its writes are on disk, or none is. This
//! module knows nothing about leases, DNS or zone files. A registration refers to
//! its role and its sequence by name, so a zone file may be reordered between two
//! starts.
//!
//! A data directory holds everything twice: in the database, from which the
//! service starts quickly, and in dumps and a journal, plain text files from
//! which the database can be rebuilt.
//!
//! | in the data directory | contents | module |
//! | --- | --- | --- |
//! | `peers.sled/` | the database | `sled` |
//! | `journal/` | every commit since the dumps | [`journal`] |
//! | `dumps/ORIGIN/` | each zone as of some commit | [`dumps`] |
//! | `witness` | the number of the last acknowledged commit | `witness` |
//! | `identity` | the identity of the data directory | `identity` |
//! | `lock` | locked by the process that uses the directory | `sled` |
//!
//! With a store in etcd (`etcd`), the data directory has only `dumps/`, `identity`,
//! `lock`, and `etcd-witness`: what was seen of etcd.
//!
//! [`local`] keeps them consistent and rebuilds a lost database, [`backup`] reads
//! a zone from dumps and journal, `block`, `checksum`, `files` and `witness` are
//! shared.

pub mod backup;
mod block;
mod checksum;
pub mod dumps;
#[cfg(feature = "etcd")]
pub mod etcd;
pub(crate) mod files;
mod identity;
pub mod journal;
pub mod local;
mod registration;
pub mod replication;
mod sled;
mod witness;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::identity::Identity;
pub use self::local::LocalStore;
pub use self::registration::{Pin, Registration};
use self::replication::Ended;
pub use self::sled::SledStore;

/// How far a serial is advanced if later ones may have been published: further
/// than a service can count between two dumps.
pub const SERIAL_MARGIN: u64 = 1 << 20;

/// The file in a data directory that says what was seen of etcd.
const ETCD_WITNESS: &str = "etcd-witness";

/// Whether the registrations of a data directory are in etcd.
pub fn is_in_etcd(data: &Path) -> bool {
    data.join(ETCD_WITNESS).exists()
}

/// A place where registrations are stored.
pub trait Store: Send {
    /// Everything that is stored of a zone. The origin is absolute and in lower
    /// case.
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError>;

    /// The origins with stored contents.
    fn origins(&mut self) -> Result<Vec<String>, StoreError>;

    /// Makes all writes durable in one flush. Returns the number of the commit,
    /// which is higher than that of every earlier commit.
    ///
    /// # Errors
    ///
    /// The writes may or may not be stored. A later commit may succeed.
    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError>;

    /// Whether replicas of the service share the store. Then whatever they publish is
    /// stored before: each serial, which leases have ended, and who is withheld.
    fn is_shared(&self) -> bool {
        false
    }

    /// Like [`commit`](Self::commit), with leases that have ended or are running again.
    /// Only a shared store keeps these.
    fn commit_with_leases(
        &mut self,
        writes: &[Write],
        _ended: &[Ended],
    ) -> Result<u64, StoreError> {
        self.commit(writes)
    }
}

/// The stored contents of a zone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Contents {
    pub registrations: Vec<Registration>,
    pub pins: Vec<Pin>,
    /// Every SOA serial below this one may have been published. 0 if the store
    /// has never had anything of the zone.
    pub serial: u64,
    /// The number of the last commit of the store.
    pub commit: u64,
    /// The number of the last commit that changed a registration or a pin of the
    /// zone, or a higher number if that is not known.
    pub changed: u64,
}

impl Contents {
    /// Whether a host has or is reserved an ID.
    pub fn names_peers(&self) -> bool {
        !self.registrations.is_empty() || !self.pins.is_empty()
    }

    /// The writes that create these contents in a store that has nothing of the
    /// zone.
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

/// A write to a zone. `origin` is absolute and in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The host has this ID, and no other host has it.
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
    /// Serials below this one may be published.
    Serial {
        origin: Arc<str>,
        serial: u64,
    },
}

impl Write {
    /// The origin of the zone.
    pub fn origin(&self) -> &Arc<str> {
        match self {
            Self::Put { origin, .. }
            | Self::Delete { origin, .. }
            | Self::Pin { origin, .. }
            | Self::Unpin { origin, .. }
            | Self::Serial { origin, .. } => origin,
        }
    }

    /// The sequence and number of the registration that it concerns.
    fn registered_id(&self) -> Option<(&str, u32)> {
        match self {
            Self::Put { registration, .. } => Some((&registration.sequence, registration.number)),
            Self::Delete {
                sequence, number, ..
            } => Some((sequence, *number)),
            _ => None,
        }
    }

    /// Whether it concerns a registration or a pin.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Serial { .. })
    }
}

/// The errors of a store. [`Write`](Self::Write) is that of a commit, the others
/// prevent a start. A store in etcd has some of its own, after which it is of no more
/// use: [`LeadershipLost`](Self::LeadershipLost), [`Behind`](Self::Behind) and
/// [`OtherCluster`](Self::OtherCluster).
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("{} is in use by another process", path.display())]
    Locked { path: PathBuf },
    /// It cannot be read, or lacks acknowledged commits.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// It has nothing of what other files of the data directory name.
    #[error("{} is empty, but {reason}", path.display())]
    Missing { path: PathBuf, reason: String },
    /// It was made in another data directory.
    #[error("{} belongs to another data directory", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "cannot open {}: {reason}; check that the disk has free space and that the directory is writable",
        path.display()
    )]
    Unusable { path: PathBuf, reason: String },
    #[error("cannot write to {}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
    #[error("cannot use {store}: {reason}")]
    Unreachable { store: String, reason: String },
    #[error("{store}: the value of {key} cannot be read: {reason}")]
    Unreadable {
        store: String,
        key: String,
        reason: String,
    },
    /// It was restored from an older copy, or emptied.
    #[error("{store} ends with commit {found}, but commit {known} was acknowledged")]
    Behind {
        store: String,
        known: u64,
        found: u64,
    },
    #[error("{store} is the cluster {found:x}, but the registrations were in {known:x}")]
    OtherCluster {
        store: String,
        known: u64,
        found: u64,
    },
    /// Another replica is, or may be, the writer.
    #[error("this replica is no longer the writer of {store}: {reason}")]
    LeadershipLost { store: String, reason: String },
    /// Another replica is the writer, where this one cannot wait.
    #[error("the writer of {store} is {writer}")]
    Led { store: String, writer: String },
}

/// The error of a database that cannot be read or lacks something.
fn damaged(path: &Path, reason: impl ToString) -> StoreError {
    StoreError::Corrupt {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Adds the path to an error that prevents a start.
fn unusable(path: &Path) -> impl Fn(io::Error) -> StoreError {
    |error| StoreError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
