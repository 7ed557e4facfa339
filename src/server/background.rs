//! Work that gives way to queries: on a thread of its own, with a lower priority
//! than those that answer, so that it has what they leave of a processor.
//!
//! The priority is that of the one piece of work and not of a pool's thread,
//! since only a privileged process can raise it again.

use std::{io, thread};

use tokio::sync::oneshot;
use tracing::debug;

/// How much nicer the thread is. Beside a thread that never sleeps, one that is
/// nicer by 8 still has an eighth of the processor, and queries lose about as much
/// of their rate. By 7 they lose a fifth; by 10 a transfer of a million peers takes
/// a tenth longer beside queries that come at half of the most; by 19, or with
/// SCHED_IDLE, it would not end within its time, and where there is time to spare
/// queries are answered no sooner for it.
const NICER: i32 = 8;

/// Does the work on a thread of that name; ends when it has ended, by a panic too.
///
/// # Errors
///
/// That there can be no further thread.
pub async fn run(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ended, end) = oneshot::channel::<()>();
    thread::Builder::new().name(name.into()).spawn(move || {
        // On Linux this is about the calling thread alone. Where it is forbidden,
        // the work does not give way.
        if let Err(error) = rustix::process::nice(NICER) {
            debug!("a thread's priority cannot be lowered: {error}");
        }
        work();
        drop(ended);
    })?;
    // Nothing is ever sent: its other half is dropped.
    let _ = end.await;
    Ok(())
}
