//! The thread on which the store talks to etcd.
//!
//! The methods of a store block, while a lease must be kept alive in between, and the
//! service's own runtime may be busy with queries or be what waits. So the store has
//! a runtime of its own, with this one thread; a method hands it a future and waits
//! for the result.

use std::{
    future::Future,
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::{runtime::Handle, sync::oneshot, task};

/// The thread, which ends when this value is dropped, with everything that it was
/// given.
pub struct Worker {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The work ended without a result: it has panicked, which is a defect.
#[derive(Debug, thiserror::Error)]
#[error("a defect in the thread that talks to etcd")]
pub struct Defect;

impl Worker {
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        let thread = thread::Builder::new().name("etcd".into()).spawn(move || {
            // Nothing is ever sent: the other half is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Does the work, and waits for its result. Blocks the thread of the caller.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Defect> {
        let (done, result) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // The caller waits for it.
            let _ = done.send(work.await);
        });
        result.recv().map_err(|_| Defect)
    }

    /// Starts work, which goes on while the caller does something else.
    pub fn start_work<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> task::JoinHandle<T> {
        self.runtime.spawn(work)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the work itself.
            let _ = thread.join();
        }
    }
}
