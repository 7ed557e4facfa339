//! Ends calls of sled that would wait forever.
//!
//! Another thread of sled writes the first page of a commit. If the disk refuses
//! it, sled 0.34.7 records the error and wakes nobody, so the commit may wait
//! forever. Any other flush finds the error and wakes all waiting calls. So a
//! thread makes such a call when one takes long.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sled::Db;

/// How long a call takes before the thread intervenes: at least this, and at most
/// twice this. On a slow disk, the intervention has no effect.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches the calls of one database. Stop it before the database is closed.
pub struct Watch {
    /// Incremented when a call begins and when it ends, so it is odd during a
    /// call.
    calls: Arc<AtomicU64>,
    /// Dropping this ends the thread.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub fn start(db: Db) -> std::io::Result<Self> {
        let calls = Arc::new(AtomicU64::new(0));
        let seen = calls.clone();
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store-watch".into())
            .spawn(move || {
                let mut last = 0;
                while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let now = seen.load(Ordering::Relaxed);
                    if now == last && now % 2 == 1 {
                        // The commit will report what is wrong with the disk.
                        let _ = catch_unwind(AssertUnwindSafe(|| db.flush()));
                    }
                    last = now;
                }
            })?;
        Ok(Self { calls, end, thread })
    }

    /// Makes a call while the thread watches it.
    pub fn over<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = call();
        self.calls.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Stops the thread, and releases the database.
    pub fn stop(self) {
        drop(self.end);
        // The thread catches its panics.
        let _ = self.thread.join();
    }
}
