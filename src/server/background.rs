//! Runs work on a thread with a lower priority than the threads that answer queries, so
//! that it uses the processor time that they leave.
//!
//! Each piece of work has a thread of its own instead of one from a pool, since only a
//! privileged process can raise the priority of a thread again.

use std::{io, thread};

use tokio::sync::oneshot;
use tracing::debug;

/// The increment of the thread's nice value. With 8, the thread still gets an eighth of
/// the processor beside a thread that never sleeps, and queries lose about as much of
/// their rate. With 7, they lose a fifth. With 10, a transfer of a million peers takes
/// 10 % longer beside queries at half of the maximum rate. With 19 or SCHED_IDLE, it
/// would not end within its time limit, and on a machine with spare time queries are
/// answered no sooner.
const NICE_INCREMENT: i32 = 8;

/// Runs the work on a thread with this name. Returns when the work has ended or
/// panicked.
///
/// # Errors
///
/// The operating system cannot create a thread.
pub async fn run(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (sender, receiver) = oneshot::channel::<()>();
    thread::Builder::new().name(name.into()).spawn(move || {
        // On Linux this affects only the calling thread. If it fails, the work runs
        // with the normal priority.
        if let Err(error) = rustix::process::nice(NICE_INCREMENT) {
            debug!("cannot lower the priority of a thread: {error}");
        }
        work();
        drop(sender);
    })?;
    // This returns an error when the sender is dropped; nothing is ever sent.
    let _ = receiver.await;
    Ok(())
}
