//! The TCP loop, and a connection's (RFC 7766).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    Shared,
    handler::Outcome,
    source::{Source, Transport},
};

/// How long a connection may be idle, or a message take to come or to go.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, for want of file
/// descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

pub async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        let accept = async {
            let permit = shared.connections.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            _ = stopping.changed() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                let shared = shared.clone();
                let mut stopping = stopping.clone();
                tokio::spawn(async move {
                    let served = tokio::select! {
                        served = serve(stream, peer, &shared) => served,
                        _ = stopping.changed() => Ok(()),
                    };
                    if let Err(error) = served {
                        debug!("connection of {peer}: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the messages of a connection until it ends or idles.
async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    // Answers are written whole; waiting for more to send only delays them.
    stream.set_nodelay(true)?;
    let source = Source::new(peer, Transport::Tcp);
    while let Some(message) = timeout(IDLE, read(&mut stream)).await?? {
        match shared.handler.handle(&message, source) {
            Outcome::Silence => return Ok(()),
            Outcome::Reply(reply) => timeout(IDLE, write(&mut stream, &reply)).await??,
            Outcome::Later(reply) => {
                if let Some(reply) = reply.await {
                    timeout(IDLE, write(&mut stream, &reply)).await??;
                }
            }
            Outcome::Transfer(transfer) => {
                for message in transfer.messages() {
                    timeout(IDLE, write(&mut stream, &message)).await??;
                    // A large zone must not keep others waiting.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    Ok(())
}

/// A message, or `None` when the client has closed the connection.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Length and message in one segment (RFC 7766, section 8).
async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let octets = [&length.to_be_bytes(), message].concat();
    stream.write_all(&octets).await
}
