//! HTTP connections, with limits on their number and their time.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tracing::debug;

use super::Site;
use crate::server::readiness::Readiness;

/// The maximum number of connections. Each takes about 10 kB. Further ones wait in the
/// kernel.
const MAX_CONNECTIONS: usize = 64;

/// The time limit for the head of a request, also of the next one on a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of a connection, so that slow readers do not keep all places.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The size of the buffer for the head of a request, in bytes.
const HEAD_BYTES: usize = 8_192;

/// Opens a listener on each address.
///
/// # Errors
///
/// An address that is in use, or is none of this machine.
pub fn open(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let listener = |address: &SocketAddr| {
        let listener = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(TcpListener::from_std);
        listener.with_context(|| format!("cannot listen on {address} for HTTP (--http)"))
    };
    addresses.iter().map(listener).collect()
}

/// Serves the site on all listeners until the service stops. Nothing of it has the
/// registry after that, whose thread waits for it.
pub fn start(listeners: Vec<TcpListener>, readiness: Readiness, stopping: &watch::Receiver<bool>) {
    let site = Arc::new(Site::new(readiness));
    for listener in listeners {
        tokio::spawn(run(listener, site.clone(), stopping.clone()));
    }
}

async fn run(listener: TcpListener, site: Arc<Site>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stopping.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, site.clone(), place);
                let mut stopping = stopping.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        _ = stopping.changed() => {}
                    }
                });
            }
            Err(error) => {
                debug!("HTTP: cannot accept a connection: {error}");
                // If file descriptors are exhausted, some may become free later.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>, _place: Option<OwnedSemaphorePermit>) {
    let respond = |request: Request<Incoming>| {
        let response: Response<Full<Bytes>> = site.respond(request.method(), request.uri());
        async { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("HTTP: {error}"),
        Err(_) => debug!("HTTP: {}", io::Error::from(io::ErrorKind::TimedOut)),
    }
}
