//! The control socket, which answers commands on this machine regardless of limits and
//! access lists. Every process that may open the file, in the data directory, may use
//! it.
//!
//! A client sends one line with the name of a command. The answer is one line that
//! starts with `ok` or `error`.

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

use super::readiness::Readiness;

/// The name of the socket in the data directory.
pub const FILE: &str = "control";

/// The command that asks whether the service receives and answers queries.
pub const HEALTH: &str = "health";

/// The command that asks whether it can register peers as well.
pub const READY: &str = "ready";

/// The time limit for a command and its answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum length of a command in bytes.
const MAX_COMMAND_BYTES: u64 = 256;

/// The control socket. Its file is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket in the data directory. The caller holds the lock of the
    /// directory, so that a socket that a previous service left is unused.
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
    pub async fn run(self, readiness: Readiness, mut stopping: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopping.changed() => return,
            };
            let result = match accepted {
                Ok((stream, _)) => timeout(TIMEOUT, serve(stream, &readiness)).await,
                Err(error) => Ok(Err(error)),
            };
            if let Err(error) = result.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                debug!("control socket: {error}");
                // If file descriptors are exhausted, some may become free later.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The file may have been removed with its directory.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, readiness: &Readiness) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream)
        .take(MAX_COMMAND_BYTES)
        .read_line(&mut line)
        .await?;
    let answer = match line.trim() {
        HEALTH => answer_to(readiness.check_alive()),
        READY => answer_to(readiness.check_ready()),
        other => format!("error: unknown command {other:?}"),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    stream.shutdown().await
}

fn answer_to(result: Result<(), String>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(reason) => format!("error: {reason}"),
    }
}
