//! The control socket: how commands on this machine reach the service, whatever
//! its limits and access lists say. Who may open the file, in the data directory,
//! may ask.
//!
//! A client sends one line, the name of a command, and is answered with one line
//! that begins with `ok` or `error`.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    time::timeout,
};
use tracing::debug;

use crate::clock::{Clock, MAX_BREAK};

/// The name of the socket in the data directory.
pub const FILE: &str = "control";

/// Whether the service hears and answers.
pub const HEALTH: &str = "health";

/// How long a client may take for its line.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a command may be.
const MOST_OCTETS: u64 = 256;

/// The socket, which is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket in the data directory, whose lock the caller holds: a file
    /// that an earlier service has left is nobody's.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        if fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until the service stops.
    pub async fn run(self, clock: Clock, mut stopping: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopping.changed() => return,
            };
            let served = match accepted {
                Ok((stream, _)) => timeout(PATIENCE, serve(stream, &clock)).await,
                Err(error) => Ok(Err(error)),
            };
            if let Err(error) = served.unwrap_or_else(|late| Err(late.into())) {
                debug!("control socket: {error}");
                // Where there are no file descriptors, there may be some later.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may be gone with the directory.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, clock: &Clock) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(MOST_OCTETS).read_line(&mut line).await?;
    let answer = match line.trim() {
        HEALTH => health(clock),
        other => format!("error: there is no command {other:?}"),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    stream.shutdown().await
}

/// A loop that does not come around hears nobody.
fn health(clock: &Clock) -> String {
    let moment = clock.moment();
    if moment.heard_since == moment.now {
        return format!("error: a part of the service stands still for more than {MAX_BREAK:?}");
    }
    "ok".to_owned()
}
