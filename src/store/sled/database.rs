//! An open database of sled, guarded against what sled does when the disk fails.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use sled::{Batch, Db};

use super::{renewal, watch::Watch};

/// An open database. It must be closed, not dropped: sled syncs its log when it
/// is dropped, and panics where that fails.
pub struct Database {
    pub db: Db,
    /// sled's log, open since before sled opened it: a sync through this
    /// descriptor reports every page that the disk refused since then, whoever
    /// was told of it before.
    log: File,
    watch: Watch,
    path: PathBuf,
}

/// A batch that is not on disk.
pub struct Refusal {
    pub reason: String,
    /// Whether pages are lost that the kernel takes for written: the database
    /// must be renewed.
    pub pages_lost: bool,
}

impl Database {
    /// `log` is the log of the database in that folder, opened before `db` was.
    pub fn new(db: Db, log: File, path: PathBuf) -> io::Result<Self> {
        let watch = Watch::start(db.clone())?;
        Ok(Self {
            db,
            log,
            watch,
            path,
        })
    }

    /// Whether the path still leads to this database, so that somebody finds it
    /// after a restart.
    pub fn is_in_place(&self) -> bool {
        let named = fs::metadata(self.path.join(LOG));
        let open = self.log.metadata();
        named.is_ok_and(|named| open.is_ok_and(|open| is_same(&named, &open)))
    }

    /// Makes the batch durable. After a refusal it must be closed.
    pub fn apply(&self, batch: Batch) -> Result<(), Refusal> {
        let call = || {
            self.db.apply_batch(batch)?;
            self.db.flush()
        };
        // sled panics on some errors of the disk instead of returning them.
        let written = self.watch.over(|| catch_unwind(AssertUnwindSafe(call)));
        let reason = match written {
            Ok(Ok(_)) => {
                // sled's flush has the kernel write the pages, and does not have
                // the disk write what it has been given.
                return self.log.sync_data().map_err(|error| Refusal {
                    reason: error.to_string(),
                    pages_lost: true,
                });
            }
            // sled keeps the kind of the system's error, and has its debug form for a
            // text.
            Ok(Err(sled::Error::Io(error))) => error.kind().to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "sled gave up on an error of the disk".to_owned(),
        };
        Err(Refusal {
            reason,
            // A full disk refuses a write and loses nothing.
            pages_lost: self.log.sync_data().is_err(),
        })
    }

    /// Closes it. Nobody else has the `db` any more.
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

/// The name of the log in the database's folder.
pub const LOG: &str = "db";

/// Whether both are of one file.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
