//! DNS over TLS (RFC 7858): the handshake, after which a connection is served like
//! any other, and the reloading of certificates that change.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::connection::{self, Session};
use crate::server::config::certificates::Credentials;

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
    let acceptor = TlsAcceptor::from(credentials.current.load_full());
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
    let mut last_stamps = credentials.stamps;
    // Why the files could not be loaded at the last check.
    let mut last_error = None;
    while timeout(CHECK_INTERVAL, stopping.changed()).await.is_err() {
        let files = credentials.files.clone();
        // A file that could not be read may have become readable without a change.
        let is_broken = last_error.is_some();
        let check = tokio::task::spawn_blocking(move || {
            let stamps = files.stamps();
            let is_due = is_broken || stamps != last_stamps;
            (stamps, is_due.then(|| files.load()))
        });
        let (stamps, config) = match check.await {
            Ok(checked) => checked,
            Err(error) => {
                warn!("changed certificates are no longer reloaded: {error}");
                return;
            }
        };
        last_stamps = stamps;
        match config {
            Some(Ok(config)) => {
                credentials.current.store(Arc::new(config));
                last_error = None;
                let shown = credentials.files.certificate.display();
                info!("{shown} was reloaded: new connections use this certificate");
            }
            Some(Err(errors)) => {
                let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let error = Some(messages.join("; "));
                // The same error is logged once, and not at each check.
                if let Some(error) = error.as_ref().filter(|_| last_error != error) {
                    warn!("{error}; the previous certificate remains in use");
                }
                last_error = error;
            }
            None => {}
        }
    }
}
