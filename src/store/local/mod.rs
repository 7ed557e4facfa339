//! The store of a data directory: the database, and the journal and the dumps
//! from which it can be rebuilt.
//!
//! Each commit has a number. It is written to the journal, and then journal and
//! database are synced at the same time, by two threads; when both are durable,
//! the witness notes the number and the commit is acknowledged. If either fails,
//! the commit fails: it is removed from the journal and its number is not reused.
//! The database may have kept some of it, which the caller must write again.
//!
//! * `directory`: a data directory before its store is opened: whether database,
//!   journal, dumps and witness agree, and how they are reconciled.
//! * `opening`: opens a store.
//! * `restore`: restores a store on behalf of an administrator.

mod directory;
mod opening;
mod restore;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::{
    Contents, Identity, Store, StoreError, Write,
    backup::{Backup, Changes},
    dumps::Dumps,
    journal::{self, Journal},
    sled::{self, SledStore},
    witness::{self, Witness},
};

pub use self::opening::OpenMode;
pub use self::restore::{Report, RestoreError, restore, restore_zone};

/// The store of a data directory.
pub struct LocalStore {
    data: PathBuf,
    database: SledStore,
    journal: Journal,
    witness: Witness<u64>,
    dumps: Dumps,
    /// The number of the last commit, whether it succeeded or failed.
    last: u64,
    /// The contents that were read when the store was opened, until they are used
    /// or change.
    loaded: BTreeMap<String, Contents>,
    changes: Changes,
    /// Held for as long as the store is open, to exclude other processes.
    _lock: File,
}

impl LocalStore {
    /// The dumps of the data directory.
    pub fn dumps(&self) -> &Dumps {
        &self.dumps
    }

    /// Dumps the zones whose newest dump is out of date, except for those in
    /// `served`: the service dumps these itself.
    pub fn dump_others(&mut self, served: &[String]) {
        let origins = match self.origins() {
            Ok(origins) => origins,
            Err(error) => return warn!("{error}"),
        };
        for origin in origins.iter().filter(|origin| !served.contains(origin)) {
            let newest = self.dumps.newest_sound(origin).sound;
            let dumped = newest.map_or(0, |newest| newest.generation.commit);
            if self.changes.last(origin) <= dumped {
                continue;
            }
            let written = match self.load(origin) {
                Ok(contents) => self.dumps.write(origin, contents),
                Err(error) => return warn!("{error}"),
            };
            if let Err(error) = written {
                warn!("cannot dump {origin}: {error}");
            }
        }
    }

    /// The number of the next commit.
    fn next(&mut self) -> u64 {
        self.last += 1;
        // The contents are out of date.
        self.loaded.clear();
        self.last
    }

    /// Records which zones a commit has changed.
    fn note_changes(&mut self, number: u64, writes: &[Write]) {
        let mut noted = None;
        for write in writes.iter().filter(|write| write.is_change()) {
            let origin = write.origin();
            if noted != Some(origin) {
                self.changes.zones.insert(origin.to_string(), number);
                noted = Some(origin);
            }
        }
    }

    fn unwritable(&self, name: &str, error: &io::Error) -> StoreError {
        StoreError::Write {
            path: self.data.join(name),
            reason: error.to_string(),
        }
    }
}

impl Store for LocalStore {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        let mut contents = match self.loaded.remove(origin) {
            Some(contents) => contents,
            None => self.database.load(origin)?,
        };
        contents.changed = self.changes.last(origin);
        // The contents may have been read before another zone was written.
        contents.commit = self.database.last_commit();
        Ok(contents)
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        self.database.origins()
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let number = self.next();
        // The journal comes first, so that after a kill it has every commit of
        // the database.
        let written = self.journal.write(number, writes);
        written.map_err(|error| self.unwritable("journal", &error))?;
        let stored = self.database.commit_as(number, writes);
        let journaled = self.journal.wait();
        let journaled = journaled.map_err(|error| self.unwritable("journal", &error));
        match stored.and(journaled) {
            Ok(()) => {
                self.journal.keep();
                self.witness.note(&number);
                self.note_changes(number, writes);
                Ok(number)
            }
            Err(error) => {
                self.journal.undo();
                Err(error)
            }
        }
    }
}

/// Paths in a data directory.
fn database_in(data: &Path) -> PathBuf {
    data.join(sled::FOLDER)
}

fn identity_in(directory: &Path) -> PathBuf {
    directory.join("identity")
}

/// The identity of a data directory, or else that of its contents.
fn identity_of(data: &Path) -> io::Result<Option<Identity>> {
    let own = Identity::read(&identity_in(data))?;
    let in_database = || Identity::read(&identity_in(&database_in(data)));
    match own {
        Some(own) => Ok(Some(own)),
        None => Ok(in_database()?
            .or_else(|| Some(journal::heads(&journal::directory(data)).last()?.network))
            .or_else(|| Dumps::network_in(data))),
    }
}

/// The last commit that was acknowledged according to the witness.
fn acknowledged_in(data: &Path) -> u64 {
    let earlier = || witness::of_earlier_release(&database_in(data).join("commits"));
    let seen = witness::read(&data.join(WITNESS)).or_else(earlier);
    seen.unwrap_or(0)
}

const WITNESS: &str = "witness";

/// Opens the store of a data directory, if there is one. Does not create it.
pub fn open_to_look(data: &Path) -> Result<Option<LocalStore>, StoreError> {
    if !has_database(data) {
        return Ok(None);
    }
    LocalStore::open(data, OpenMode::Tool).map(Some)
}

/// Whether a data directory has a database.
pub fn has_database(data: &Path) -> bool {
    database_in(data).is_dir()
}

/// Whether there is nothing in a data directory that a store could be opened from.
pub fn is_empty(data: &Path) -> bool {
    let folders = [
        database_in(data),
        journal::directory(data),
        Dumps::directory_in(data),
    ];
    !folders.iter().any(|folder| folder.is_dir())
}

/// The backup of a data directory, read without its lock and its database.
pub fn backup_in(data: &Path) -> io::Result<Backup> {
    let network = identity_of(data)?.map_or_else(Identity::new, Ok)?;
    Backup::read(data, network, acknowledged_in(data))
}
