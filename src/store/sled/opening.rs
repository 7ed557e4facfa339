//! Opens the database, and removes obstacles first.

use std::{
    fs::{File, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::Duration,
};

use sled::{Db, Mode};

use super::{
    conf,
    database::{Database, LOG},
    renewal, snapshots,
};
use crate::store::{
    StoreError, damaged,
    files::{self, make_directory, parent_of, sync_directory},
    unusable,
};

/// The pages that sled keeps in memory. After the start, when the registrations
/// are in the network's maps, they serve only to rewrite pages.
const CACHE_BYTES: u64 = 32 << 20;

/// How often sled's own lock is tried, every 10 ms. Only this process can hold
/// it.
const LOCK_ATTEMPTS: u32 = 300;

/// Locks the data directory, which is created if it does not exist.
pub fn lock(data: &Path) -> Result<File, StoreError> {
    let unusable = unusable(data);
    make_directory(data).map_err(&unusable)?;
    let file = files::open(&data.join("lock")).map_err(&unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: data.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Opens or creates the database in this folder. The caller has locked the data
/// directory. `pages_lost` tells that the disk has refused a part of the log
/// since the machine was started, which is also detected here if another process
/// was told.
pub fn open(path: &Path, pages_lost: bool) -> Result<Database, StoreError> {
    let log = prepare(path, pages_lost).map_err(unusable(path))?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .mode(Mode::LowSpace)
        // Commits flush explicitly, and nothing else is written.
        .flush_every_ms(None);
    // A damaged file can make sled panic instead of returning an error.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let error = match opened {
        Ok(Ok(db)) => return settled(db, log, path).map_err(unusable(path)),
        Ok(Err(sled::Error::Io(error))) => unusable(path)(error),
        Ok(Err(error)) => damaged(path, error),
        Err(_) => damaged(path, "sled panicked while it opened the database"),
    };
    // sled writes while it opens the database.
    if log.sync_data().is_err() {
        renewal::demand(path);
    }
    Err(error)
}

/// Ensures that what sled is going to read is on disk: sled reads its log through
/// the page cache, builds on it, and overwrites what it does not need. Returns
/// the log.
fn prepare(path: &Path, pages_lost: bool) -> io::Result<File> {
    renewal::complete(path)?;
    make_directory(path)?;
    let mut log = files::open(&path.join(LOG))?;
    wait_for(&log)?;
    if pages_lost || renewal::is_demanded(path) || log.sync_all().is_err() {
        drop(log);
        renewal::renew(path)?;
        log = files::open(&path.join(LOG))?;
        log.sync_all()?;
    }
    conf::mend(path)?;
    snapshots::settle(path)?;
    sync_directory(path)?;
    Ok(log)
}

/// Makes the names of sled's files durable.
fn settled(db: Db, log: File, path: &Path) -> io::Result<Database> {
    let database = Database::new(db, log, path.to_owned())?;
    if let Err(error) = sync_directory(path).and_then(|()| sync_directory(parent_of(path))) {
        database.close();
        return Err(error);
    }
    Ok(database)
}

/// Waits until sled's threads have released the log. If this process had it open
/// before, they may hold it for a moment.
fn wait_for(log: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match log.try_lock() {
            Ok(()) => return log.unlock(),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(TryLockError::WouldBlock.into())
}
