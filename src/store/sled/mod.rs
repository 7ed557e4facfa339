//! The database: sled 0.34.
//!
//! All keys are in the default tree:
//!
//! | key | value |
//! | --- | --- |
//! | `b` ORIGIN `\0` SEQUENCE `\0` INDEX | a block of registrations, as JSON with a version; the index is four bytes, big-endian |
//! | `k` ORIGIN `\0` HOST | the number that is pinned to the host, as JSON with a version |
//! | `s` ORIGIN | the first serial that was never published, eight bytes, big-endian |
//! | `c` | the number of commits, eight bytes, big-endian |
//!
//! This module works around defects of sled 0.34:
//!
//! * Its flush only makes the kernel write the pages of the log
//!   (`sync_file_range`) and does not flush the disk's cache: a power failure
//!   could undo it. So a commit ends with an `fdatasync` of the log.
//! * It remembers its first input/output error and fails every later call with
//!   it. So after an error the database is closed, and a later commit opens it
//!   again.
//! * It does not know that a failed sync loses pages which can still be read. So
//!   after that the database is copied to new files (`renewal`).
//! * It may wait forever for a write that has failed. So a thread watches waiting
//!   calls (`watch`).
//! * It panics if the disk fails while it is dropped. So it is closed where the
//!   panic is caught (`database`).
//! * It does not sync its file `conf`, without which it does not open (`conf`).
//! * It overwrites parts of its log relying on a snapshot whose name it does not
//!   sync, and fails on an incomplete snapshot (`snapshots`).
//! * If its log is damaged, it silently continues with what precedes the damage.
//!   So the store counts its commits (`last_commit`), and the caller compares
//!   that with what is known elsewhere.
//!
//! `keys`: the keys of records. `opening`: locks and opens the database.

mod conf;
mod database;
mod keys;
mod opening;
mod renewal;
mod snapshots;
mod watch;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sled::{Batch, Db, IVec};

pub(super) use self::opening::lock;
use self::{
    database::{ApplyError, Database, leads_to},
    keys::{BLOCK, PIN, block_in, block_key, key, pin_key, serial_key},
    opening::open,
};
use super::{
    Contents, Pin, Store, StoreError, Write, block::Block, damaged, files::parent_of, unusable,
};

/// How long commits fail immediately after an attempt to reopen the database has
/// failed: opening reads the whole database, and the disk is probably still full.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

pub struct SledStore {
    path: PathBuf,
    state: State,
    /// The directory that contains the database.
    directory: File,
    /// The number of the last commit, whether it succeeded or failed.
    commits: u64,
    /// The last commit that became durable.
    durable: u64,
    /// Held for as long as the store is open, to exclude other processes.
    _lock: File,
}

enum State {
    Open(Database),
    /// Closed after an error.
    Closed {
        /// When it was last tried; `None` if it may be tried immediately.
        since: Option<Instant>,
        /// Whether the database must be renewed.
        pages_lost: bool,
    },
}

impl SledStore {
    /// Locks the data directory, and opens its database. Creates both if they do
    /// not exist.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_at(data.join(FOLDER), lock(data)?)
    }

    /// Opens or creates the database in this folder. The caller has locked the
    /// data directory.
    pub(super) fn open_at(path: PathBuf, lock: File) -> Result<Self, StoreError> {
        let data = parent_of(&path);
        let directory = File::open(data).map_err(unusable(data))?;
        let (database, commits) = open_checked(&path, false, 0)?;
        Ok(Self {
            path,
            state: State::Open(database),
            directory,
            commits,
            durable: commits,
            _lock: lock,
        })
    }

    /// The number of the last commit in the database.
    pub(super) fn last_commit(&self) -> u64 {
        self.durable
    }

    /// Opens the database if it was closed after an error.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let State::Closed { since, pages_lost } = self.state else {
            return Ok(());
        };
        if since.is_some_and(|since| since.elapsed() < REOPEN_INTERVAL) {
            return Err(self.unwritable("it failed a moment ago"));
        }
        if !self.is_in_its_directory() {
            return Err(self.unwritable(MOVED));
        }
        let opened = open_checked(&self.path, pages_lost, self.durable);
        let (database, _) = opened.map_err(|error| {
            let since = Some(Instant::now());
            self.state = State::Closed { since, pages_lost };
            self.unwritable(error)
        })?;
        self.state = State::Open(database);
        Ok(())
    }

    fn database(&self) -> Result<&Database, StoreError> {
        match &self.state {
            State::Open(database) if database.is_in_place() => Ok(database),
            _ => Err(self.unwritable(MOVED)),
        }
    }

    /// Whether the path leads to the locked directory, and the database is in it.
    fn is_in_its_directory(&self) -> bool {
        (self.path.is_dir() || renewal::is_interrupted(&self.path))
            && leads_to(parent_of(&self.path), &self.directory)
    }

    /// Closes the database; the next commit opens it.
    fn close(&mut self, pages_lost: bool) {
        if pages_lost {
            renewal::demand(&self.path);
        }
        // The error may be transient, so the next commit tries at once.
        let since = None;
        let closed = State::Closed { since, pages_lost };
        if let State::Open(database) = mem::replace(&mut self.state, closed) {
            database.close();
        }
    }

    fn unwritable(&self, reason: impl ToString) -> StoreError {
        StoreError::Write {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    fn damaged(&self, reason: impl ToString) -> StoreError {
        damaged(&self.path, reason)
    }

    /// The records of one kind in a zone, with the rest of each key after the
    /// origin.
    fn records<'s>(
        &'s self,
        db: &Db,
        kind: u8,
        origin: &str,
    ) -> impl Iterator<Item = Result<(Vec<u8>, IVec), StoreError>> + 's {
        let prefix = key(kind, origin, b"");
        db.scan_prefix(&prefix).map(move |entry| {
            let (key, value) = entry.map_err(|error| self.damaged(error))?;
            Ok((key[prefix.len()..].to_vec(), value))
        })
    }

    fn block(&self, sequence: &str, place: u32, value: &[u8]) -> Result<Block, StoreError> {
        Block::from_value(sequence, place, value)
            .map_err(|error| self.damaged(format!("block {place} of {sequence}: {error}")))
    }

    /// What a commit changes in the database.
    fn batch(&self, db: &Db, number: u64, writes: &[Write]) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        batch.insert(COMMITS_KEY, &number.to_be_bytes());
        let mut blocks: BTreeMap<Vec<u8>, Block> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Pin { origin, pin } => {
                    batch.insert(pin_key(origin, &pin.host), pin.to_value());
                }
                Write::Unpin { origin, host } => batch.remove(pin_key(origin, host)),
                Write::Serial { origin, serial } => {
                    batch.insert(serial_key(origin), &serial.to_be_bytes());
                }
                Write::Put { .. } | Write::Delete { .. } => {}
            }
            let Some((sequence, number)) = write.registered_id() else {
                continue;
            };
            let place = Block::place(number);
            let block = match blocks.entry(block_key(write.origin(), sequence, place)) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(vacant) => {
                    let stored = db.get(vacant.key());
                    let stored = stored.map_err(|error| self.unwritable(error))?;
                    let block = stored.map(|value| self.block(sequence, place, &value));
                    vacant.insert(block.transpose()?.unwrap_or_default())
                }
            };
            block.apply(write);
        }
        for (key, block) in blocks {
            if block.is_empty() {
                batch.remove(key);
            } else {
                batch.insert(key, block.to_value());
            }
        }
        Ok(batch)
    }

    /// Commits under this number, which is higher than every earlier one.
    pub(super) fn commit_as(&mut self, number: u64, writes: &[Write]) -> Result<(), StoreError> {
        self.reopen()?;
        let database = self.database()?;
        let applied = database.apply(self.batch(&database.db, number, writes)?);
        self.commits = number;
        if let Err(ApplyError { reason, pages_lost }) = applied {
            self.close(pages_lost);
            return Err(self.unwritable(reason));
        }
        self.durable = number;
        Ok(())
    }
}

impl Store for SledStore {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        self.reopen()?;
        let db = &self.database()?.db;
        let mut contents = Contents {
            commit: self.durable,
            changed: self.durable,
            ..Contents::default()
        };
        for entry in self.records(db, BLOCK, origin) {
            let (key, value) = entry?;
            let (sequence, place) =
                block_in(&key).ok_or_else(|| self.damaged("the key of a block is invalid"))?;
            let block = self.block(sequence, place, &value)?;
            contents.registrations.extend(block.into_registrations());
        }
        for entry in self.records(db, PIN, origin) {
            let (key, value) = entry?;
            let host = String::from_utf8(key)
                .map_err(|_| self.damaged("a host name is not valid UTF-8"))?;
            let pin = Pin::from_value(host.clone(), &value)
                .map_err(|error| self.damaged(format!("the pin of {host}: {error}")))?;
            contents.pins.push(pin);
        }
        let serial = number(db, &serial_key(origin), "a serial");
        contents.serial = serial.map_err(|reason| self.damaged(reason))?;
        Ok(contents)
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        self.reopen()?;
        let db = &self.database()?.db;
        let mut origins: Vec<String> = Vec::new();
        for kind in [BLOCK, PIN] {
            let mut from = vec![kind];
            while let Some(key) = db.range(from..vec![kind + 1]).keys().next() {
                let key = key.map_err(|error| self.damaged(error))?;
                let origin = key[1..].split(|byte| *byte == 0).next().unwrap_or(&[]);
                // Skip all other records of the origin, which may be very many.
                from = [&[kind], origin, &[1]].concat();
                let origin = String::from_utf8_lossy(origin).into_owned();
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        Ok(origins)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let number = self.commits + 1;
        self.commit_as(number, writes)?;
        Ok(number)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// Why the store accepts no commits after another process has moved its files: an
/// ID that is assigned now would be lost with the next restart.
const MOVED: &str = "its files were deleted or replaced while the service was running: put them \
                     back, or restart the service, which reports what to do";

const COMMITS_KEY: &[u8] = b"c";

/// The folder of the database in the data directory.
pub(super) const FOLDER: &str = "peers.sled";

/// Opens the database. Returns it with the number of its last commit: if that is
/// lower than `durable`, the database has lost registrations.
fn open_checked(
    path: &Path,
    pages_lost: bool,
    durable: u64,
) -> Result<(Database, u64), StoreError> {
    let database = open(path, pages_lost)?;
    let reason = match number(&database.db, COMMITS_KEY, "the number of commits") {
        Ok(commits) if commits >= durable => return Ok((database, commits)),
        Ok(commits) => format!("its commits {} to {durable} are missing", commits + 1),
        Err(reason) => reason,
    };
    database.close();
    Err(damaged(path, reason))
}

/// A number of eight bytes; 0 if there is none. Errors call it `name`.
fn number(db: &Db, key: &[u8], name: &str) -> Result<u64, String> {
    let Some(value) = db.get(key).map_err(|error| error.to_string())? else {
        return Ok(0);
    };
    <[u8; 8]>::try_from(&*value)
        .map(u64::from_be_bytes)
        .map_err(|_| format!("{name} is not eight bytes long"))
}
