//! An open sled database, guarded against sled's behaviour when the disk fails.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use sled::{Batch, Db};

use super::{renewal, watch::Watch};

/// An open database. Close it, do not drop it: on drop, sled syncs its log, and
/// panics if that fails.
pub struct Database {
    pub db: Db,
    /// sled's log, opened before sled opened it: a sync of this descriptor
    /// reports every page that the disk has refused since then, even if another
    /// descriptor reported it before.
    log: File,
    watch: Watch,
    path: PathBuf,
}

/// Why a batch is not on disk.
pub struct ApplyError {
    pub reason: String,
    /// Whether the kernel considers lost pages as written. The database must be
    /// renewed.
    pub pages_lost: bool,
}

impl Database {
    /// `log` is the log of the database in this folder, opened before `db`.
    pub fn new(db: Db, log: File, path: PathBuf) -> io::Result<Self> {
        let watch = Watch::start(db.clone())?;
        Ok(Self {
            db,
            log,
            watch,
            path,
        })
    }

    /// Whether the path still leads to this database, so that it will be found
    /// after a restart.
    pub fn is_in_place(&self) -> bool {
        leads_to(&self.path.join(LOG), &self.log)
    }

    /// Makes a batch durable. After an error, the database must be closed.
    pub fn apply(&self, batch: Batch) -> Result<(), ApplyError> {
        let call = || {
            self.db.apply_batch(batch)?;
            self.db.flush()
        };
        // sled panics on some errors of the disk instead of returning them.
        let written = self.watch.over(|| catch_unwind(AssertUnwindSafe(call)));
        let reason = match written {
            Ok(Ok(_)) => {
                // sled's flush starts the write-back of the pages, but does not
                // make the disk flush its cache.
                return self.log.sync_data().map_err(|error| ApplyError {
                    reason: error.to_string(),
                    pages_lost: true,
                });
            }
            // sled keeps the kind of the system's error, and has its debug form for a
            // text.
            Ok(Err(sled::Error::Io(error))) => error.kind().to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "sled panicked on a disk error".to_owned(),
        };
        Err(ApplyError {
            reason,
            // A full disk refuses the write and loses nothing.
            pages_lost: self.log.sync_data().is_err(),
        })
    }

    /// Closes the database. No other reference to `db` may exist.
    pub fn close(self) {
        self.watch.stop();
        let closed = catch_unwind(AssertUnwindSafe(|| drop(self.db)));
        if closed.is_err() || self.log.sync_data().is_err() {
            renewal::demand(&self.path);
        }
    }
}

/// The name of the log in the folder of the database.
pub const LOG: &str = "db";

/// Whether the path leads to the open file.
pub fn leads_to(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}
