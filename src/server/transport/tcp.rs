//! The TCP loop: accepts connections, and starts a task for each.

use std::{io, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    connection::{self, Session},
    shared::Shared,
    tls,
};
use crate::server::{
    config::certificates::Credentials,
    policy::source::{Source, Transport},
};

/// The pause after a connection could not be accepted, for example for lack of file
/// descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of a socket; with credentials, for TLS.
pub async fn run(
    listener: TcpListener,
    credentials: Option<Arc<Credentials>>,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => return Ok(()),
        };
        match accepted {
            Ok((mut stream, address)) => {
                let server = match stream.local_addr() {
                    Ok(server) => server.ip(),
                    // The client is gone.
                    Err(error) => {
                        debug!("connection of {address}: {error}");
                        continue;
                    }
                };
                let transport = match credentials {
                    None => Transport::Tcp,
                    Some(_) => Transport::Tls,
                };
                let source = Source::new(address, transport, server);
                // No query from this source can be allowed.
                if !shared.responder.policy.access.query.may_allow(source.ip) {
                    continue;
                }
                let connection = shared.connections.admit(source);
                let credentials = credentials.clone();
                let shared = shared.clone();
                let stopping = stopping.clone();
                tokio::spawn(async move {
                    // Replies are written as a whole, so that waiting for more to send
                    // would only delay them. If it fails, they are delayed.
                    let _ = stream.set_nodelay(true);
                    let session = Session {
                        source,
                        connection: &connection,
                        shared: &shared,
                    };
                    let serving = serve(&mut stream, credentials, session, stopping);
                    let result = tokio::select! {
                        result = serving => result,
                        () = connection.evicted() => Err(io::Error::other("evicted")),
                    };
                    if let Err(error) = result {
                        debug!("connection of {address}: {error}");
                        // Otherwise the kernel keeps what the client has not read for
                        // minutes, which no limit counts. If it fails, the kernel does.
                        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    }
                });
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection from its start until the client has received everything.
async fn serve(
    stream: &mut TcpStream,
    credentials: Option<Arc<Credentials>>,
    session: Session<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let result = match credentials {
        None => {
            let (reader, writer) = stream.split();
            connection::serve(reader, writer, session, stopping.clone()).await
        }
        // The future is boxed because it is far larger, and would enlarge the task of a
        // plain TCP connection.
        Some(credentials) => {
            let serving = tls::serve(stream, &credentials, session, stopping.clone());
            Box::pin(serving).await
        }
    };
    // This also ends a connection with an incomplete handshake. It may be shut down
    // already.
    let _ = stream.shutdown().await;
    tokio::select! {
        closed = timeout(session.connection.idle_timeout(), closed(stream)) => closed?,
        // The kernel continues without the service.
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    result
}

/// Waits until both sides have closed the connection, and the client has received
/// everything.
async fn closed(stream: &TcpStream) {
    let mut pause = Duration::from_millis(1);
    while stream.peer_addr().is_ok() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}
