//! An open sled database, guarded against sled's behaviour when the disk fails.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
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
        let named = fs::metadata(self.path.join(LOG));
        let open = self.log.metadata();
        named.is_ok_and(|named| open.is_ok_and(|open| is_same(&named, &open)))
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
        let Self {
            db,
            log,
            watch,
            path,
        } = self;
        watch.stop();
        let closed = catch_unwind(AssertUnwindSafe(|| drop(db)));
        if closed.is_err() || log.sync_data().is_err() {
            renewal::demand(&path);
        }
    }
}

/// The name of the log in the folder of the database.
pub const LOG: &str = "db";

/// Whether both belong to the same file.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
