//! DNS over TLS (RFC 7858): the handshake, after which a connection is served like
//! any other, and the reloading of certificates that change.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::connection::{self, Session};
use crate::server::config::certificates::{Credentials, FileStamps};

/// The interval at which the files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Serves a connection from its handshake, which has the same time limit as a
/// message.
pub(super) async fn serve(
    stream: &mut TcpStream,
    credentials: &Credentials,
    session: Session<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(credentials.current());
    let handshake = timeout(session.connection.idle_timeout(), acceptor.accept(stream));
    let stream = tokio::select! {
        stream = handshake => stream??,
        _ = stopping.changed() => return Ok(()),
    };
    let (reader, writer) = tokio::io::split(stream);
    connection::serve(reader, writer, session, stopping).await
}

/// Reloads the files when they change, until the service stops.
pub async fn watch(credentials: Arc<Credentials>, mut stopping: watch::Receiver<bool>) {
    let mut watcher = Watcher {
        stamps: credentials.stamps(),
        last_error: None,
        credentials,
    };
    while timeout(CHECK_INTERVAL, stopping.changed()).await.is_err() {
        let check = tokio::task::spawn_blocking(move || {
            watcher.check();
            watcher
        });
        match check.await {
            Ok(checked) => watcher = checked,
            Err(error) => {
                warn!("changed certificates are no longer reloaded: {error}");
                return;
            }
        }
    }
}

struct Watcher {
    credentials: Arc<Credentials>,
    /// The stamps of the files at the last check.
    stamps: FileStamps,
    /// Why the files could not be loaded at the last check.
    last_error: Option<String>,
}

impl Watcher {
    fn check(&mut self) {
        let files = self.credentials.files();
        let stamps = files.stamps();
        // A file that could not be read may have become readable without a change.
        if stamps == self.stamps && self.last_error.is_none() {
            return;
        }
        self.stamps = stamps;
        match files.load() {
            Ok(config) => {
                self.credentials.replace(config);
                self.last_error = None;
                let shown = files.certificate.display();
                info!("{shown} was reloaded: new connections use this certificate");
            }
            Err(errors) => {
                let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let error = messages.join("; ");
                // The same error is logged once, and not at each check.
                if self.last_error.as_ref() != Some(&error) {
                    warn!("{error}; the previous certificate remains in use");
                }
                self.last_error = Some(error);
            }
        }
    }
}
