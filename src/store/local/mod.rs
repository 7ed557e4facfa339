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

/// The contents of the zones that have been read, by origin.
type Loaded = BTreeMap<String, Contents>;

/// The store of a data directory.
pub struct LocalStore {
    data: PathBuf,
    journal: Journal,
    witness: Witness<u64>,
    dumps: Dumps,
    /// The number of the last commit, whether it succeeded or failed.
    last: u64,
    /// The contents that were read when the store was opened, until they are used
    /// or change.
    loaded: Loaded,
    changes: Changes,
    /// Holds the lock, so it is the last field: fields are dropped in this order.
    database: SledStore,
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
            match self.load(origin) {
                Ok(contents) => self.dump(origin, contents),
                Err(error) => return warn!("{error}"),
            }
        }
    }

    /// Dumps a zone. A failure is only logged: the next dump has the same.
    fn dump(&self, origin: &str, contents: Contents) {
        if let Err(error) = self.dumps.write(origin, contents) {
            warn!("cannot dump {origin}: {error}");
        }
    }

    /// Dumps a zone with these contents as of the last commit.
    fn dump_filled(&self, origin: &str, mut contents: Contents) {
        contents.commit = self.database.last_commit();
        self.dump(origin, contents);
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
        self.last += 1;
        let number = self.last;
        // The contents are out of date.
        self.loaded.clear();
        let unwritable = |error: io::Error| StoreError::Write {
            path: journal::directory(&self.data),
            reason: error.to_string(),
        };
        // The journal comes first, so that after a kill it has every commit of
        // the database.
        self.journal.write(number, writes).map_err(unwritable)?;
        let stored = self.database.commit_as(number, writes);
        let journaled = self.journal.wait().map_err(unwritable);
        if let Err(error) = stored.and(journaled) {
            self.journal.undo();
            return Err(error);
        }
        self.journal.keep(number, writes);
        self.witness.note(&number);
        let changes = writes.iter().filter(|write| write.is_change());
        journal::note(&mut self.changes.zones, number, changes);
        Ok(number)
    }
}

/// Paths in a data directory.
fn database_in(data: &Path) -> PathBuf {
    data.join(sled::FOLDER)
}

fn identity_in(directory: &Path) -> PathBuf {
    directory.join("identity")
}

/// The identity of a data directory, or else that of its contents, or else a new
/// one.
fn identity_of(data: &Path) -> io::Result<Identity> {
    for directory in [data, &database_in(data)] {
        if let Some(known) = Identity::read(&identity_in(directory))? {
            return Ok(known);
        }
    }
    let heads = journal::heads(&journal::directory(data));
    let known = heads.last().map(|head| head.network);
    known
        .or_else(|| Dumps::network_in(data))
        .map_or_else(Identity::new, Ok)
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
    let open = || LocalStore::open(data, OpenMode::Tool);
    has_database(data).then(open).transpose()
}

/// Whether a data directory has a database.
pub fn has_database(data: &Path) -> bool {
    database_in(data).is_dir()
}

/// Whether there is nothing in a data directory that a store could be opened from.
pub fn is_empty(data: &Path) -> bool {
    let (journal, dumps) = (journal::directory(data), Dumps::directory_in(data));
    !(has_database(data) || journal.is_dir() || dumps.is_dir())
}

/// The backup of a data directory, read without its lock and its database.
pub fn backup_in(data: &Path) -> io::Result<Backup> {
    Backup::read(data, identity_of(data)?, acknowledged_in(data))
}
