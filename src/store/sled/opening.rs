//! Opening the database, and what may be in the way.

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
    directories::{make_directory, sync_directory},
    snapshots,
};
use crate::store::StoreError;

/// Pages that sled keeps in memory. The registrations themselves are in the
/// network's own maps; after the start this is only for pages to be rewritten.
const CACHE_BYTES: u64 = 32 << 20;

/// How often sled's own lock is tried, 10 ms apart. Only this process can have it.
const LOCK_ATTEMPTS: u32 = 300;

/// Takes the lock of the data directory, which is made where there is none.
pub fn lock(data: &Path) -> Result<File, StoreError> {
    let unusable = |error: io::Error| StoreError::Unusable {
        path: data.to_owned(),
        reason: error.to_string(),
    };
    make_directory(data).map_err(unusable)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: data.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Opens the database. The caller holds the lock of the data directory; where it
/// was open in this process before, sled's own threads may hold its own lock for
/// a moment longer.
pub fn open(path: &Path) -> Result<Db, StoreError> {
    let mut attempts = 0;
    loop {
        match open_once(path) {
            Err(StoreError::Unusable { reason, .. })
                if reason.contains("acquire lock") && attempts < LOCK_ATTEMPTS =>
            {
                attempts += 1;
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn open_once(path: &Path) -> Result<Db, StoreError> {
    prepare(path).map_err(|error| StoreError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .mode(Mode::LowSpace)
        // Commits flush by themselves, and nothing else is written.
        .flush_every_ms(None);
    // A damaged file can make sled panic instead of returning an error.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let path = path.to_owned();
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) => {
            let reason = error.to_string();
            Err(StoreError::Unusable { path, reason })
        }
        Ok(Err(error)) => {
            let reason = error.to_string();
            Err(StoreError::Corrupt { path, reason })
        }
        Err(_) => {
            let reason = "sled cannot read it".to_owned();
            Err(StoreError::Corrupt { path, reason })
        }
    }
}

/// Makes sure that what sled is going to read is on disk.
fn prepare(path: &Path) -> io::Result<()> {
    make_directory(path)?;
    conf::mend(path)?;
    snapshots::settle(path)?;
    sync_directory(path)
}
