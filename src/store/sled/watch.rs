//! Ends calls of sled that would never end.
//!
//! A commit's first page is written by another of sled's threads. Where the disk
//! refuses it, sled 0.34.7 notes the error and wakes nobody, so that whoever waits
//! for the commit may wait for ever. Any other call that flushes finds the error
//! and wakes all who wait. So a thread makes such a call when one takes long.

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

/// How long a call takes, at the least and twice this at the most, before the
/// other one is made. A slow disk does not make that one fail.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches over the calls of one database. Has to be stopped before the
/// database is closed.
pub struct Watch {
    /// Rises by one when a call begins and when it ends, so that it is odd while
    /// one runs.
    calls: Arc<AtomicU64>,
    /// Dropped, it ends the thread.
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
                        // What is wrong with the disk is for the commit to say.
                        let _ = catch_unwind(AssertUnwindSafe(|| db.flush()));
                    }
                    last = now;
                }
            })?;
        Ok(Self { calls, end, thread })
    }

    /// Makes a call under watch.
    pub fn over<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = call();
        self.calls.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Gives the database up.
    pub fn stop(self) {
        let Self { end, thread, .. } = self;
        drop(end);
        // It catches its panics.
        let _ = thread.join();
    }
}
