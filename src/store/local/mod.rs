//! The store of a data directory: the database, and beside it the journal and the
//! dumps of which it can be made anew.
//!
//! A commit has a number. It is written into the journal, then the disk writes
//! that and the database at the same time, on two threads; when both have it, the
//! witness notes the number and the commit is acknowledged. Where the one or the
//! other fails, the commit has failed: it is cut off the journal, its number is
//! not given again, and what the database may have of it is for the caller to
//! write anew.
//!
//! * `place`: a data directory before its store is opened: whether database,
//!   journal, dumps and witness fit each other, and how they are made to.
//! * `opening`: what a start makes of that.
//! * `restore`: what an administrator makes of it.

mod opening;
mod place;
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
    chain::Chain,
    dumps::Dumps,
    journal::{self, Journal},
    sled::{self, SledStore},
    witness::{self, Witness},
};

pub use self::opening::Opening;
pub use self::restore::{Report, RestoreError, restore, restore_zone};

/// The store of a data directory.
pub struct LocalStore {
    data: PathBuf,
    database: SledStore,
    journal: Journal,
    witness: Witness,
    dumps: Dumps,
    /// The number of the last commit, also if it failed.
    last: u64,
    /// What was read when it was opened, until it is asked for or changes.
    loaded: BTreeMap<String, Contents>,
    /// By origin: the last commit that changed the zone; and the same for every
    /// other zone.
    changes: (BTreeMap<String, u64>, u64),
    /// Keeps every other process away for as long as it is open.
    _lock: File,
}

impl LocalStore {
    /// The dumps of the data directory.
    pub fn dumps(&self) -> &Dumps {
        &self.dumps
    }

    /// Dumps the zones of which there is no dump that has everything, but for
    /// those: the service that serves them dumps them itself.
    pub fn dump_others(&mut self, served: &[String]) {
        let origins = match self.origins() {
            Ok(origins) => origins,
            Err(error) => return warn!("{error}"),
        };
        for origin in origins.iter().filter(|origin| !served.contains(origin)) {
            let (newest, _) = self.dumps.newest_sound(origin);
            let dumped = newest.map_or(0, |(newest, _)| newest.commit);
            if self.changed(origin) <= dumped {
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
        // What was read is not what there is any more.
        self.loaded.clear();
        self.last
    }

    fn changed(&self, origin: &str) -> u64 {
        let (changes, others) = &self.changes;
        changes.get(origin).copied().unwrap_or(*others)
    }

    /// Notes which zones a commit has changed.
    fn note_changes(&mut self, number: u64, writes: &[Write]) {
        let mut noted = None;
        for write in writes.iter().filter(|write| write.is_change()) {
            let origin = write.origin();
            if noted != Some(origin) {
                self.changes.0.insert(origin.to_string(), number);
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
        contents.changed = self.changed(origin);
        // Also what was read before another zone was written.
        contents.commit = self.database.last_commit();
        Ok(contents)
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        self.database.origins()
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let number = self.next();
        // Before the database: after a kill the journal has what that has.
        let written = self.journal.write(number, writes);
        written.map_err(|error| self.unwritable("journal", &error))?;
        let stored = self.database.commit_as(number, writes);
        let journaled = self.journal.wait();
        let journaled = journaled.map_err(|error| self.unwritable("journal", &error));
        match stored.and(journaled) {
            Ok(()) => {
                self.journal.keep();
                self.witness.note(number);
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

/// Places in a data directory.
fn database_in(data: &Path) -> PathBuf {
    data.join(sled::FOLDER)
}

fn identity_in(directory: &Path) -> PathBuf {
    directory.join("identity")
}

/// The identity of a data directory; that of what is in it, where it has none
/// itself.
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

/// The last commit that the witness of a data directory says was acknowledged.
fn acknowledged_in(data: &Path) -> u64 {
    let earlier = || witness::of_earlier_release(&database_in(data).join("commits"));
    let seen = witness::read(&data.join(WITNESS)).or_else(earlier);
    seen.unwrap_or(0)
}

const WITNESS: &str = "witness";

/// The store of a data directory, if there is one; none is made.
pub fn open_to_look(data: &Path) -> Result<Option<LocalStore>, StoreError> {
    match database_in(data).is_dir() {
        true => LocalStore::open(data, Opening::Tool).map(Some),
        false => Ok(None),
    }
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

/// What dumps and journal of a data directory have, without its lock and without
/// its database.
pub fn backup_in(data: &Path) -> io::Result<Chain> {
    let network = identity_of(data)?.map_or_else(Identity::new, Ok)?;
    Chain::read(data, network, acknowledged_in(data))
}
