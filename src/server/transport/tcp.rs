//! The TCP loop: takes connections, and has each served.

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
    connection::{self, Peer},
    shared::Shared,
    tls,
};
use crate::server::{
    config::certificates::Credentials,
    policy::source::{Source, Transport},
};

/// How long to wait when no connection can be accepted, for want of file
/// descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the connections of a socket. Where there are credentials, they are
/// for TLS.
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
                    // The client has gone already.
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
                if !shared.responder.policy.may_connect(source) {
                    continue;
                }
                let connection = shared.connections.admit(source);
                let credentials = credentials.clone();
                let shared = shared.clone();
                let stopping = stopping.clone();
                tokio::spawn(async move {
                    // Answers are written whole; waiting for more to send only
                    // delays them. Where it cannot be set, they are delayed.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer {
                        source,
                        connection: &connection,
                        shared: &shared,
                    };
                    let serving = serve(&mut stream, credentials, peer, stopping);
                    let served = tokio::select! {
                        served = serving => served,
                        () = connection.evicted() => Err(io::Error::other("its place is needed")),
                    };
                    if let Err(error) = served {
                        debug!("connection of {address}: {error}");
                        // Otherwise the kernel keeps what the client has not taken for
                        // minutes, and nobody counts it. Where it cannot be set, it does.
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

/// Serves a connection from its beginning until the client has taken everything.
async fn serve(
    stream: &mut TcpStream,
    credentials: Option<Arc<Credentials>>,
    peer: Peer<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let served = match credentials {
        None => {
            let (reader, writer) = stream.split();
            connection::serve(reader, writer, peer, stopping.clone()).await
        }
        // Far larger, and no part of what a plain one needs.
        Some(credentials) => {
            let serving = tls::serve(stream, &credentials, peer, stopping.clone());
            Box::pin(serving).await
        }
    };
    // Also where a handshake was not finished. It may be done already.
    let _ = stream.shutdown().await;
    tokio::select! {
        taken = timeout(peer.connection.idle(), taken(stream)) => taken?,
        // The kernel goes on without the service.
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    served
}

/// Waits until both sides have closed the connection, and the client has everything.
async fn taken(stream: &TcpStream) {
    let mut pause = Duration::from_millis(1);
    while stream.peer_addr().is_ok() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}
