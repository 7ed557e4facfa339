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
    fs::{self, File},
    mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sled::{Batch, Db};

pub(super) use self::opening::lock;
use self::{
    database::{ApplyError, Database, is_same},
    keys::{BLOCK, PIN, block_in, block_key, key, pin_key, serial_key},
    opening::open,
};
use super::{Contents, Pin, Store, StoreError, Write, block::Block, files::parent_of};

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
        let directory = File::open(data).map_err(|error| StoreError::Unusable {
            path: data.to_owned(),
            reason: error.to_string(),
        })?;
        let database = open_checked(&path, false, 0)?;
        let commits = commits_in(&database.db).map_err(|reason| StoreError::Corrupt {
            path: path.clone(),
            reason,
        })?;
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

    fn db(&mut self) -> Result<Db, StoreError> {
        let (since, pages_lost) = match &self.state {
            State::Open(database) if database.is_in_place() => return Ok(database.db.clone()),
            State::Open(_) => return Err(self.unwritable(MOVED.into())),
            State::Closed { since, pages_lost } => (*since, *pages_lost),
        };
        if since.is_some_and(|since| since.elapsed() < REOPEN_INTERVAL) {
            return Err(self.unwritable("it failed a moment ago".into()));
        }
        if !self.is_in_its_directory() {
            return Err(self.unwritable(MOVED.into()));
        }
        match open_checked(&self.path, pages_lost, self.durable) {
            Ok(database) => {
                let db = database.db.clone();
                self.state = State::Open(database);
                Ok(db)
            }
            Err(error) => {
                self.state = State::Closed {
                    since: Some(Instant::now()),
                    pages_lost,
                };
                Err(self.unwritable(error.to_string()))
            }
        }
    }

    /// Whether the path leads to the locked directory, and the database is in it.
    fn is_in_its_directory(&self) -> bool {
        let named = fs::metadata(parent_of(&self.path));
        let locked = self.directory.metadata();
        (self.path.is_dir() || renewal::is_interrupted(&self.path))
            && named.is_ok_and(|named| locked.is_ok_and(|locked| is_same(&named, &locked)))
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

    fn unwritable(&self, reason: String) -> StoreError {
        let path = self.path.clone();
        StoreError::Write { path, reason }
    }

    /// The records of one kind in a zone, with the rest of each key after the
    /// origin.
    fn records<'s>(
        &'s self,
        db: &Db,
        kind: u8,
        origin: &str,
    ) -> impl Iterator<Item = Result<(Vec<u8>, sled::IVec), StoreError>> + 's {
        let prefix = key(kind, origin, b"");
        db.scan_prefix(&prefix).map(move |entry| {
            let (key, value) = entry.map_err(|error| self.damaged(error.to_string()))?;
            Ok((key[prefix.len()..].to_vec(), value))
        })
    }

    fn block(&self, sequence: &str, place: u32, value: &[u8]) -> Result<Block, StoreError> {
        Block::from_value(sequence, place, value)
            .map_err(|error| self.damaged(format!("block {place} of {sequence}: {error}")))
    }

    /// The blocks after these writes.
    fn blocks<'w>(
        &self,
        db: &Db,
        writes: &'w [Write],
    ) -> Result<BTreeMap<(&'w str, &'w str, u32), Block>, StoreError> {
        let mut blocks = BTreeMap::new();
        for write in writes {
            let (origin, sequence, number) = match write {
                Write::Put {
                    origin,
                    registration: it,
                } => (origin, &it.sequence, it.number),
                Write::Delete {
                    origin,
                    sequence,
                    number,
                    ..
                } => (origin, sequence, *number),
                Write::Pin { .. } | Write::Unpin { .. } | Write::Serial { .. } => continue,
            };
            let place = Block::place(number);
            let block = match blocks.entry((&**origin, &**sequence, place)) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(vacant) => {
                    let stored = db.get(block_key(origin, sequence, place));
                    let stored = stored.map_err(|error| self.unwritable(error.to_string()))?;
                    vacant.insert(match stored {
                        Some(value) => self.block(sequence, place, &value)?,
                        None => Block::default(),
                    })
                }
            };
            match write {
                Write::Put { registration, .. } => block.put(registration.clone()),
                Write::Delete { host, number, .. } => block.remove(*number, host),
                _ => {}
            }
        }
        Ok(blocks)
    }

    fn damaged(&self, reason: String) -> StoreError {
        let path = self.path.clone();
        StoreError::Corrupt { path, reason }
    }
}

impl Store for SledStore {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        let db = self.db()?;
        let mut contents = Contents::default();
        for entry in self.records(&db, BLOCK, origin) {
            let (key, value) = entry?;
            let (sequence, place) = block_in(&key)
                .ok_or_else(|| self.damaged("the key of a block is invalid".into()))?;
            let block = self.block(sequence, place, &value)?;
            contents.registrations.extend(block.into_registrations());
        }
        for entry in self.records(&db, PIN, origin) {
            let (key, value) = entry?;
            let host = String::from_utf8(key)
                .map_err(|_| self.damaged("a host name is not valid UTF-8".into()))?;
            let pin = Pin::from_value(host.clone(), &value)
                .map_err(|error| self.damaged(format!("the pin of {host}: {error}")))?;
            contents.pins.push(pin);
        }
        let serial = db
            .get(serial_key(origin))
            .map_err(|error| self.damaged(error.to_string()))?;
        contents.commit = self.durable;
        contents.changed = self.durable;
        if let Some(serial) = serial {
            let bytes = <[u8; 8]>::try_from(&*serial)
                .map_err(|_| self.damaged("a serial is not eight bytes long".into()))?;
            contents.serial = u64::from_be_bytes(bytes);
        }
        Ok(contents)
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        let db = self.db()?;
        let mut origins: Vec<String> = Vec::new();
        for kind in [BLOCK, PIN] {
            let mut from = vec![kind];
            while let Some(key) = db.range(from..vec![kind + 1]).keys().next() {
                let key = key.map_err(|error| self.damaged(error.to_string()))?;
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

impl SledStore {
    /// Commits under this number, which is higher than every earlier one.
    pub(super) fn commit_as(&mut self, number: u64, writes: &[Write]) -> Result<(), StoreError> {
        let db = self.db()?;
        let blocks = self.blocks(&db, writes)?;
        self.commits = number;
        let mut batch = Batch::default();
        batch.insert(COMMITS_KEY, &self.commits.to_be_bytes());
        for ((origin, sequence, place), block) in &blocks {
            let key = block_key(origin, sequence, *place);
            if block.is_empty() {
                batch.remove(key);
            } else {
                batch.insert(key, block.to_value());
            }
        }
        for write in writes {
            match write {
                Write::Put { .. } | Write::Delete { .. } => {}
                Write::Pin { origin, pin } => {
                    batch.insert(pin_key(origin, &pin.host), pin.to_value());
                }
                Write::Unpin { origin, host } => batch.remove(pin_key(origin, host)),
                Write::Serial { origin, serial } => {
                    batch.insert(serial_key(origin), &serial.to_be_bytes());
                }
            }
        }
        let State::Open(database) = &self.state else {
            return Err(self.unwritable("it is closed".into()));
        };
        match database.apply(batch) {
            Ok(()) => {
                self.durable = self.commits;
                Ok(())
            }
            Err(ApplyError { reason, pages_lost }) => {
                drop(db);
                self.close(pages_lost);
                Err(self.unwritable(reason))
            }
        }
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

/// Opens the database, and checks that it has the durable commits.
fn open_checked(path: &Path, pages_lost: bool, durable: u64) -> Result<Database, StoreError> {
    let database = open(path, pages_lost)?;
    match check(&database.db, path, durable) {
        Ok(()) => Ok(database),
        Err(error) => {
            database.close();
            Err(error)
        }
    }
}

fn commits_in(db: &Db) -> Result<u64, String> {
    match db.get(COMMITS_KEY).map_err(|error| error.to_string())? {
        Some(value) => <[u8; 8]>::try_from(&*value)
            .map(u64::from_be_bytes)
            .map_err(|_| "the number of commits is not eight bytes long".to_owned()),
        None => Ok(0),
    }
}

/// Checks that the database has the durable commits. If not, it has lost
/// registrations.
fn check(db: &Db, path: &Path, durable: u64) -> Result<(), StoreError> {
    let reason = match commits_in(db) {
        Ok(commits) if commits >= durable => return Ok(()),
        Ok(commits) => format!("its commits {} to {durable} are missing", commits + 1),
        Err(reason) => reason,
    };
    let path = path.to_owned();
    Err(StoreError::Corrupt { path, reason })
}
