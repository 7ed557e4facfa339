//! The store on local disk: sled 0.34.
//!
//! Keys, all in the default tree:
//!
//! | key | value |
//! | --- | --- |
//! | `b` ORIGIN `\0` SEQUENCE `\0` PLACE | a block of registrations, as JSON with its version; the place is four octets, big-endian |
//! | `k` ORIGIN `\0` HOST | the number that is kept for the host, as JSON with its version |
//! | `s` ORIGIN | the first serial that was never published, eight octets, big-endian |
//! | `c` | how many commits there were, eight octets, big-endian |
//!
//! Much is done about what sled 0.34 gets wrong:
//!
//! * Its flush has the kernel write the log's pages (`sync_file_range`), and
//!   does not have the disk write what it has been given: a power cut would take
//!   back what was flushed. So a commit ends with an `fdatasync` of the log.
//! * It remembers its first input/output error and fails every later call with
//!   it. So after one the database is closed, and a later commit opens it anew.
//! * It does not sync its file `conf`, without which it opens no more (`conf`).
//! * It does not sync the name of the snapshot on which it depends when it
//!   overwrites a part of its log, and stumbles over one that was never completed
//!   (`snapshots`).
//! * Where its log is damaged, it silently goes on with what stands before the
//!   damage. So the number of commits is kept a second time, in a file beside
//!   it ([`Witness`]), and a database with fewer commits is not opened.
//!
//! `block`: registrations as records. `keys`: their keys. `opening`: the lock,
//! and opening the database. `directories`: directories whose names are on disk.
//! `witness`: the second count.

mod block;
mod conf;
mod directories;
mod keys;
mod opening;
mod snapshots;
mod witness;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sled::{Batch, Db};

use self::{
    block::Block,
    directories::{parent_of, sync_directory},
    keys::{BLOCK, PIN, block_in, block_key, key, pin_key, serial_key},
    opening::{lock, open},
    witness::Witness,
};
use super::{Contents, Pin, Store, StoreError, Write};

/// How long a commit fails at once after the database could not be opened
/// again: opening reads the whole database, and the disk is probably still full.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

pub struct SledStore {
    path: PathBuf,
    state: State,
    /// What a commit has the disk write.
    log: File,
    /// How many commits there were, failed ones included.
    commits: u64,
    /// The last of them that became durable.
    durable: u64,
    witness: Witness,
    /// Keeps every other process away for as long as it is open.
    _lock: File,
}

enum State {
    Open(Db),
    /// An error closed it; not to be opened before that time.
    Closed(Instant),
}

impl SledStore {
    /// Opens the database in the data directory, or makes both, and locks it.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let lock = lock(data)?;
        let path = data.join("peers.sled");
        let db = open(&path)?;
        let log = log_of(&path).map_err(|error| StoreError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let (witness, seen) = Witness::open(&path.join(WITNESS))?;
        check(&db, &path, seen)?;
        let commits = commits_in(&db).unwrap_or(seen);
        Ok(Self {
            path,
            state: State::Open(db),
            log,
            commits,
            durable: commits,
            witness,
            _lock: lock,
        })
    }

    fn db(&mut self) -> Result<Db, StoreError> {
        let since = match &self.state {
            State::Open(db) => return Ok(db.clone()),
            State::Closed(since) => *since,
        };
        if since.elapsed() < REOPEN_INTERVAL {
            return Err(self.unwritable("it failed a moment ago".into()));
        }
        let reopened = open(&self.path).and_then(|db| {
            check(&db, &self.path, self.durable)?;
            let log = log_of(&self.path).map_err(|error| self.unwritable(error.to_string()))?;
            Ok((db, log))
        });
        match reopened {
            Ok((db, log)) => {
                self.log = log;
                self.state = State::Open(db.clone());
                Ok(db)
            }
            Err(error) => {
                self.state = State::Closed(Instant::now());
                Err(self.unwritable(error.to_string()))
            }
        }
    }

    fn unwritable(&self, reason: String) -> StoreError {
        let path = self.path.clone();
        StoreError::Write { path, reason }
    }

    /// The records of a kind that a zone has, each with what its key has behind
    /// the origin.
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

    fn block(&self, (sequence, place): (&str, u32), value: &[u8]) -> Result<Block, StoreError> {
        Block::from_value(sequence, place, value)
            .map_err(|error| self.damaged(format!("block {place} of {sequence}: {error}")))
    }

    /// The blocks as they are after these writes.
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
                        Some(value) => self.block((sequence, place), &value)?,
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
                .ok_or_else(|| self.damaged("the key of a block is no such key".into()))?;
            let block = self.block((sequence, place), &value)?;
            contents.registrations.extend(block.into_registrations());
        }
        for entry in self.records(&db, PIN, origin) {
            let (key, value) = entry?;
            let host = String::from_utf8(key)
                .map_err(|_| self.damaged("a host name is no text".into()))?;
            let pin = Pin::from_value(host.clone(), &value)
                .map_err(|error| self.damaged(format!("the pin of {host}: {error}")))?;
            contents.pins.push(pin);
        }
        let serial = db
            .get(serial_key(origin))
            .map_err(|error| self.damaged(error.to_string()))?;
        if let Some(serial) = serial {
            let octets = <[u8; 8]>::try_from(&*serial)
                .map_err(|_| self.damaged("a serial is not eight octets long".into()))?;
            contents.serial = u64::from_be_bytes(octets);
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
                let origin = key[1..].split(|octet| *octet == 0).next().unwrap_or(&[]);
                // Past all records of that origin, which may be very many.
                from = [&[kind], origin, &[1]].concat();
                let origin = String::from_utf8_lossy(origin).into_owned();
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        Ok(origins)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let db = self.db()?;
        let blocks = self.blocks(&db, writes)?;
        self.commits += 1;
        let mut batch = Batch::default();
        batch.insert(COMMITS_KEY, &self.commits.to_be_bytes());
        for ((origin, sequence, place), block) in &blocks {
            let key = block_key(origin, sequence, *place);
            match block.is_empty() {
                true => batch.remove(key),
                false => batch.insert(key, block.to_value()),
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
        // sled panics on some errors of the disk instead of returning them.
        let written = catch_unwind(AssertUnwindSafe(|| {
            db.apply_batch(batch)?;
            db.flush()?;
            self.log.sync_data()?;
            Ok::<_, sled::Error>(())
        }));
        let reason = match written {
            Ok(Ok(())) => {
                self.durable = self.commits;
                self.witness.note(self.commits);
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "sled gave up on an error of the disk".to_owned(),
        };
        drop(db);
        // The next commit may try at once: an error may be over in a moment.
        let at_once = Instant::now().checked_sub(REOPEN_INTERVAL);
        self.state = State::Closed(at_once.unwrap_or_else(Instant::now));
        Err(self.unwritable(reason))
    }
}

const COMMITS_KEY: &[u8] = b"c";

/// The name of the [`Witness`] in the database's directory.
const WITNESS: &str = "commits";

/// The file that sled keeps all in, for [`File::sync_data`]. That it is there is
/// made durable right away.
fn log_of(path: &Path) -> io::Result<File> {
    let log = File::open(path.join("db"))?;
    sync_directory(path)?;
    sync_directory(parent_of(path))?;
    Ok(log)
}

fn commits_in(db: &Db) -> Result<u64, String> {
    match db.get(COMMITS_KEY).map_err(|error| error.to_string())? {
        Some(value) => <[u8; 8]>::try_from(&*value)
            .map(u64::from_be_bytes)
            .map_err(|_| "the number of commits is not eight octets long".to_owned()),
        None => Ok(0),
    }
}

/// A database that has fewer commits than were durable has lost registrations.
fn check(db: &Db, path: &Path, durable: u64) -> Result<(), StoreError> {
    let reason = match commits_in(db) {
        Ok(commits) if commits >= durable => return Ok(()),
        Ok(commits) => format!(
            "its last {} commits are missing; to go on without them, remove {}",
            durable - commits,
            path.join(WITNESS).display()
        ),
        Err(reason) => reason,
    };
    let path = path.to_owned();
    Err(StoreError::Corrupt { path, reason })
}
