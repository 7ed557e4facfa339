//! The thread on which a replica talks to etcd and to other replicas.
//!
//! The methods of a store block, while a lease must be kept alive in between, and the
//! service's own runtime may be busy with queries or be what waits. So there is a
//! runtime with a thread of its own; a method hands it a future and waits for the result.

use std::{
    future::Future,
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

/// The thread, which ends when this value is dropped, with everything that it was
/// given. It must not be dropped by that thread itself.
pub struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Gives work to the thread.
#[derive(Clone)]
pub struct Handle(runtime::Handle);

/// The work ended without a result: the thread has ended, or the work has panicked,
/// which is a defect.
#[derive(Debug, thiserror::Error)]
#[error("the thread that talks to etcd has ended")]
pub struct Ended;

impl Worker {
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = Handle(runtime.handle().clone());
        let thread = thread::Builder::new().name("etcd".into()).spawn(move || {
            // Nothing is ever sent: the other half is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    /// Does the work, and waits for its result. Blocks the thread of the caller, which
    /// must not be the worker's.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Ended> {
        let (done, result) = mpsc::sync_channel(1);
        self.0.spawn(async move {
            // The caller waits for it.
            let _ = done.send(work.await);
        });
        result.recv().map_err(|_| Ended)
    }

    /// Starts work, which goes on while the caller does something else.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.0.spawn(work)
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
