//! The TCP loop, and a connection's (RFC 7766), which is the same over TLS.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    GRACE, PATIENCE, Shared, background,
    handler::Outcome,
    source::{Source, Transport},
    tls::{self, Credentials},
    transfer::{Running, Transfer},
};

/// How long a connection may be idle, or a message take to come or to go.
const IDLE: Duration = Duration::from_secs(10);

/// The same when most connections are taken (RFC 7766, section 6.2.3).
const IDLE_WHEN_BUSY: Duration = Duration::from_millis(500);

/// How many messages of a connection are being answered at once.
const IN_FLIGHT: usize = 64;

/// How many answers of a connection wait to be written.
const WAITING: usize = 16;

/// How long to wait when no connection can be accepted, for want of file
/// descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections are open at once. More wait in the kernel.
const CONNECTIONS: usize = 1_024;

/// How many of them may come from one address. Many peers may share one, behind
/// a node's masquerading, but `dig` keeps none open.
const CONNECTIONS_OF_SOURCE: usize = 256;

/// The connections that are open, with TLS or without.
pub struct Connections {
    free: Arc<Semaphore>,
    by_source: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    pub fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            by_source: Arc::default(),
        }
    }

    /// Waits until all have ended.
    pub async fn ended(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(CONNECTIONS as u32).await;
    }

    /// How long a connection may be idle now.
    pub fn idle(&self) -> Duration {
        match self.free.available_permits() < CONNECTIONS / 4 {
            true => IDLE_WHEN_BUSY,
            false => IDLE,
        }
    }

    /// Counts a connection of that source, if it may have one more.
    fn admit(&self, source: IpAddr) -> Option<Admitted> {
        let mut by_source = self.by_source.lock().ok()?;
        let open = by_source.entry(source).or_default();
        if *open >= CONNECTIONS_OF_SOURCE {
            return None;
        }
        *open += 1;
        Some(Admitted {
            source,
            by_source: self.by_source.clone(),
        })
    }
}

/// A connection that is counted until this is dropped.
struct Admitted {
    source: IpAddr,
    by_source: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Ok(mut by_source) = self.by_source.lock()
            && let Entry::Occupied(mut open) = by_source.entry(self.source)
        {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// Takes the connections of a socket. Where there are credentials, they are
/// for TLS.
pub async fn run(
    listener: TcpListener,
    credentials: Option<Arc<Credentials>>,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        let accept = async {
            let permit = shared.connections.free.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            _ = stopping.changed() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = match stream.local_addr() {
                    Ok(server) => server.ip(),
                    // The client has gone already.
                    Err(error) => {
                        debug!("connection of {peer}: {error}");
                        continue;
                    }
                };
                let source = Source::new(peer, Transport::Tcp, server);
                if !shared.handler.may_query(source) {
                    continue;
                }
                let Some(admitted) = shared.connections.admit(source.ip) else {
                    debug!("{peer} has too many connections");
                    continue;
                };
                let credentials = credentials.clone();
                let shared = shared.clone();
                let stopping = stopping.clone();
                tokio::spawn(async move {
                    // Answers are written whole; waiting for more to send only
                    // delays them. Where it cannot be set, they are delayed.
                    let _ = stream.set_nodelay(true);
                    let served = match credentials {
                        None => {
                            let (reader, writer) = stream.into_split();
                            serve(reader, writer, source, &shared, stopping).await
                        }
                        Some(credentials) => {
                            let served =
                                tls::serve(stream, &credentials, source, &shared, stopping);
                            // Far larger, and no part of what a plain one needs.
                            Box::pin(served).await
                        }
                    };
                    if let Err(error) = served {
                        debug!("connection of {peer}: {error}");
                    }
                    drop((admitted, permit));
                });
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes the messages of a connection until it ends or idles, or the service
/// stops. Each is answered when it can be, whatever the order (RFC 7766,
/// section 7), and what has been taken is answered before the end.
pub async fn serve(
    mut reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    source: Source,
    shared: &Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let (answers, outgoing) = mpsc::channel(WAITING);
    let last = over(stopping.clone());
    let writing = tokio::spawn(async move {
        tokio::select! {
            written = write_all(writer, outgoing) => written,
            () = last => Err(io::Error::other("the service ends")),
        }
    });
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    while !answers.is_closed() {
        let Ok(permit) = in_flight.clone().acquire_owned().await else {
            break;
        };
        let message = tokio::select! {
            message = timeout(shared.connections.idle(), read(&mut reader)) => message,
            // The writer has ended: a limit was passed, or the client is gone.
            () = answers.closed() => break,
            _ = stopping.changed() => break,
        };
        // Closed, broken or idle: there is nothing more to take.
        let Ok(Ok(Some(message))) = message else {
            break;
        };
        let outcome = shared.handler.handle(&message, source);
        if matches!(outcome, Outcome::Silence) {
            break;
        }
        let answers = answers.clone();
        let shared = shared.clone();
        tokio::spawn(async move {
            answer(outcome, source, &shared, &answers).await;
            drop(permit);
        });
    }
    drop(answers);
    writing.await.map_err(io::Error::other)?
}

/// Waits until the service stops and waits for nobody any more. A transfer may
/// take far longer; for as long as it ran, what it shares with others could not
/// be put away.
async fn over(mut stopping: watch::Receiver<bool>) {
    // Without its other half the service has ended as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
    tokio::time::sleep(GRACE).await;
}

/// Hands the messages of an outcome to the writer. Where that is gone, so is
/// the client.
async fn answer(
    outcome: Outcome,
    source: Source,
    shared: &Shared,
    answers: &mpsc::Sender<Outgoing>,
) {
    match outcome {
        Outcome::Silence => {}
        Outcome::Reply(reply) => {
            let _ = answers.send(reply.into()).await;
        }
        Outcome::Later(reply) => {
            if let Ok(Some(reply)) = timeout(PATIENCE, reply).await {
                let _ = answers.send(reply.into()).await;
            }
        }
        Outcome::Transfer(transfer) => {
            let Some(running) = shared.transfers.begin(&transfer, source.address) else {
                if let Some(refused) = transfer.refused() {
                    let _ = answers.send(refused.into()).await;
                }
                return;
            };
            let transfer = Arc::<Transfer>::from(transfer);
            let (made, taken) = (transfer.clone(), answers.clone());
            // A large zone must keep neither other connections waiting nor
            // queries by UDP.
            let making = background::run("transfer", move || {
                made.make(|octets| {
                    let transfer = Some(running.clone());
                    taken.blocking_send(Outgoing { octets, transfer }).ok()
                });
            });
            if let Err(error) = making.await {
                warn!("no thread for a transfer: {error}");
                if let Some(refused) = transfer.refused() {
                    let _ = answers.send(refused.into()).await;
                }
            }
        }
    }
}

/// What is to be written at once: a message with its length, or several of the
/// transfer that they are part of.
struct Outgoing {
    octets: Vec<u8>,
    transfer: Option<Arc<Running>>,
}

impl From<Vec<u8>> for Outgoing {
    fn from(message: Vec<u8>) -> Self {
        let mut octets = Vec::with_capacity(2 + message.len());
        framed(&mut octets, &message);
        Self {
            octets,
            transfer: None,
        }
    }
}

/// Adds a message and its length before it (RFC 7766, section 8). No message is
/// too long for that: replies are no longer than the room of a message.
pub fn framed(octets: &mut Vec<u8>, message: &[u8]) {
    let length = message.len().min(u16::MAX.into());
    octets.extend((length as u16).to_be_bytes());
    octets.extend(&message[..length]);
}

/// Writes messages until there are no more to come, the client takes none, or a
/// transfer passes its limits.
async fn write_all(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    while let Some(Outgoing { octets, transfer }) = outgoing.recv().await {
        let left = match &transfer {
            Some(transfer) => transfer.allow(octets.len())?.min(IDLE),
            None => IDLE,
        };
        match (timeout(left, write(&mut writer, &octets)).await, transfer) {
            (Ok(written), _) => written?,
            (Err(late), transfer) => {
                if let Some(transfer) = transfer {
                    // Says so if it is the transfer's time that has run out.
                    transfer.allow(0)?;
                }
                return Err(late.into());
            }
        }
    }
    // In TLS the client is told that there is no more to come (RFC 8446, section
    // 6.1). Whoever has gone already need not be.
    let _ = timeout(IDLE, writer.shutdown()).await;
    Ok(())
}

/// A message, or `None` when the client has closed the connection.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// In one segment, or one record of TLS, so far as it has room there (RFC 7766,
/// section 8).
async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    // What is encrypted is not yet sent.
    stream.flush().await
}
