//! DNS over TLS (RFC 7858): the handshake, after which a connection is like any
//! other; and the files that it needs, which are read again when they change.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::connection::{self, Peer};
use crate::server::config::certificates::{Credentials, Stamp};

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(5);

/// Takes a connection from its handshake on, which may take no longer than a
/// message.
pub(super) async fn serve(
    stream: &mut TcpStream,
    credentials: &Credentials,
    peer: Peer<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(credentials.current());
    let stream = tokio::select! {
        stream = timeout(peer.connection.idle(), acceptor.accept(stream)) => stream??,
        _ = stopping.changed() => return Ok(()),
    };
    let (reader, writer) = tokio::io::split(stream);
    connection::serve(reader, writer, peer, stopping).await
}

/// Reads the files again when they change, until the service stops.
pub async fn watch(credentials: Arc<Credentials>, mut stopping: watch::Receiver<bool>) {
    let mut watcher = Watcher {
        stamps: credentials.stamps(),
        wrong: None,
        credentials,
    };
    while timeout(LOOK, stopping.changed()).await.is_err() {
        let looking = tokio::task::spawn_blocking(move || {
            watcher.look();
            watcher
        });
        match looking.await {
            Ok(looked) => watcher = looked,
            Err(error) => {
                warn!("certificates are no longer read when they change: {error}");
                return;
            }
        }
    }
}

struct Watcher {
    credentials: Arc<Credentials>,
    /// As the files were last time.
    stamps: [Stamp; 3],
    /// What was wrong with them then.
    wrong: Option<String>,
}

impl Watcher {
    fn look(&mut self) {
        let files = self.credentials.files();
        let stamps = files.stamps();
        // What could not be read may be readable now, unchanged.
        if stamps == self.stamps && self.wrong.is_none() {
            return;
        }
        self.stamps = stamps;
        match files.load() {
            Ok(config) => {
                self.credentials.replace(config);
                self.wrong = None;
                let shown = files.certificate.display();
                info!("new connections are given the certificate that {shown} has now");
            }
            Err(problems) => {
                let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
                let wrong = messages.join("; ");
                // Said once, not at each look.
                if self.wrong.as_ref() != Some(&wrong) {
                    warn!("{wrong}. The certificate from before stays in use");
                }
                self.wrong = Some(wrong);
            }
        }
    }
}
