//! The TCP loop, and a connection's (RFC 7766), which is the same over TLS.

use std::{io, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    GRACE, PATIENCE, Shared, background,
    connections::{Connection, IDLE, LARGEST_REPLY, Reserved},
    handler::Outcome,
    source::{Source, Transport},
    tls::{self, Credentials},
    transfer::{Running, Transfer},
};

/// How long to wait when no connection can be accepted, for want of file
/// descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// What a query takes that waits for the registry or an upstream, in octets.
const WAITING_OCTETS: usize = 4_096;

/// How many parts of a transfer wait to be written.
const TRANSFER_PARTS: usize = 16;

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
            Ok((mut stream, peer)) => {
                let server = match stream.local_addr() {
                    Ok(server) => server.ip(),
                    // The client has gone already.
                    Err(error) => {
                        debug!("connection of {peer}: {error}");
                        continue;
                    }
                };
                let transport = match credentials {
                    None => Transport::Tcp,
                    Some(_) => Transport::Tls,
                };
                let source = Source::new(peer, transport, server);
                if !shared.handler.may_query(source) {
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
                    let client = Client {
                        source,
                        connection: &connection,
                        shared: &shared,
                    };
                    let serving = serve_stream(&mut stream, credentials, client, stopping);
                    let served = tokio::select! {
                        served = serving => served,
                        () = connection.evicted() => Err(io::Error::other("its place is needed")),
                    };
                    if let Err(error) = served {
                        debug!("connection of {peer}: {error}");
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

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
pub struct Client<'c> {
    pub source: Source,
    pub connection: &'c Connection,
    pub shared: &'c Arc<Shared>,
}

/// Serves a connection from its beginning until the client has taken everything.
async fn serve_stream(
    stream: &mut TcpStream,
    credentials: Option<Arc<Credentials>>,
    client: Client<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let served = match credentials {
        None => {
            let (reader, writer) = stream.split();
            serve(reader, writer, client, stopping.clone()).await
        }
        // Far larger, and no part of what a plain one needs.
        Some(credentials) => {
            let serving = tls::serve(stream, &credentials, client, stopping.clone());
            Box::pin(serving).await
        }
    };
    // Also where a handshake was not finished. It may be done already.
    let _ = stream.shutdown().await;
    tokio::select! {
        taken = timeout(client.connection.idle(), taken(stream)) => taken?,
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

/// Takes the messages of a connection until it ends or idles, or the service
/// stops. Each is answered when it can be, whatever the order (RFC 7766,
/// section 7), and what has been taken is answered before the end. No message is
/// read for whose answer there is no room.
pub async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    client: Client<'_>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let (answers, outgoing) = mpsc::unbounded_channel();
    let last = over(stopping.clone());
    let reading = read_all(reader, client, answers, stopping);
    let writing = async {
        tokio::select! {
            written = write_all(writer, outgoing) => written,
            () = last => Err(io::Error::other("the service ends")),
        }
    };
    let ((), written) = tokio::join!(reading, writing);
    written
}

/// Reads messages and has them answered.
async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    client: Client<'_>,
    answers: UnboundedSender<Outgoing>,
    mut stopping: watch::Receiver<bool>,
) {
    let Client {
        source,
        connection,
        shared,
    } = client;
    loop {
        let next = async {
            connection.has_room().await;
            timeout(connection.idle(), read(&mut reader, connection)).await
        };
        let message = tokio::select! {
            message = next => message,
            // The writer has ended: a limit was passed, or the client is gone.
            () = answers.closed() => return,
            _ = stopping.changed() => return,
        };
        // Closed, broken or idle: there is nothing more to take.
        let Ok(Ok(Some((message, reserved)))) = message else {
            return;
        };
        drop(reserved);
        let Some(mut reserved) = connection.reserve(LARGEST_REPLY) else {
            return;
        };
        let source = source.on_connection(shared.connections.idle());
        let turn = tokio::select! {
            turn = connection.turn() => turn,
            () = answers.closed() => return,
        };
        if !connection.is_kept() && shared.handler.is_signed(&message, source) {
            connection.keep();
        }
        let outcome = shared.handler.handle(&message, source);
        // The next turn is another's, if anybody waits for one.
        drop(turn);
        tokio::task::yield_now().await;
        match outcome {
            Outcome::Silence => return,
            Outcome::Reply(reply) => {
                reserved.shrink(reply.len() + 2);
                // Where the writer is gone, so is the client.
                let _ = answers.send(Outgoing::message(&reply, Some(reserved)));
            }
            outcome => {
                reserved.shrink(WAITING_OCTETS);
                let (answers, shared) = (answers.clone(), shared.clone());
                tokio::spawn(async move {
                    answer_later(outcome, source, &shared, &answers, reserved).await;
                });
            }
        }
    }
}

/// Waits until the service stops and waits for nobody any more. A transfer may
/// take far longer; for as long as it ran, what it shares with others could not
/// be put away.
async fn over(mut stopping: watch::Receiver<bool>) {
    // Without its other half the service has ended as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
    tokio::time::sleep(GRACE).await;
}

/// Hands the messages of an outcome that takes time to the writer. Where that is
/// gone, so is the client.
async fn answer_later(
    outcome: Outcome,
    source: Source,
    shared: &Shared,
    answers: &UnboundedSender<Outgoing>,
    reserved: Reserved,
) {
    match outcome {
        Outcome::Silence | Outcome::Reply(_) => {}
        Outcome::Later(reply) => {
            if let Ok(Some(reply)) = timeout(PATIENCE, reply).await {
                let _ = answers.send(Outgoing::message(&reply, Some(reserved)));
            }
        }
        Outcome::Transfer(transfer) => {
            let Some(running) = shared.transfers.begin(&transfer, source.address) else {
                if let Some(refused) = transfer.refused() {
                    let _ = answers.send(Outgoing::message(&refused, Some(reserved)));
                }
                return;
            };
            let transfer = Arc::<Transfer>::from(transfer);
            let (made, taken) = (transfer.clone(), answers.clone());
            let parts = Arc::new(Semaphore::new(TRANSFER_PARTS));
            let runtime = Handle::current();
            // A large zone must keep neither other connections waiting nor
            // queries by UDP.
            let making = background::run("transfer", move || {
                made.make(|octets| {
                    let part = runtime.block_on(parts.clone().acquire_owned()).ok()?;
                    let outgoing = Outgoing {
                        octets,
                        transfer: Some((running.clone(), part)),
                        _reserved: None,
                    };
                    taken.send(outgoing).ok()
                });
            });
            if let Err(error) = making.await {
                warn!("no thread for a transfer: {error}");
                if let Some(refused) = transfer.refused() {
                    let _ = answers.send(Outgoing::message(&refused, Some(reserved)));
                }
            }
        }
    }
}

/// What is to be written at once: a message with its length, or several of the
/// transfer that they are part of.
struct Outgoing {
    octets: Vec<u8>,
    transfer: Option<(Arc<Running>, OwnedSemaphorePermit)>,
    /// Given back when it is written.
    _reserved: Option<Reserved>,
}

impl Outgoing {
    fn message(message: &[u8], reserved: Option<Reserved>) -> Self {
        let mut octets = Vec::with_capacity(2 + message.len());
        framed(&mut octets, message);
        Self {
            octets,
            transfer: None,
            _reserved: reserved,
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
    mut outgoing: UnboundedReceiver<Outgoing>,
) -> io::Result<()> {
    while let Some(next) = outgoing.recv().await {
        let transfer = next.transfer.as_ref().map(|(running, _)| running);
        let left = match transfer {
            Some(transfer) => transfer.allow(next.octets.len())?.min(IDLE),
            None => IDLE,
        };
        match timeout(left, write(&mut writer, &next.octets)).await {
            Ok(written) => written?,
            Err(late) => {
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

/// A message, and what is reserved for it; `None` when the client has closed the
/// connection, or its place is needed.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
) -> io::Result<Option<(Vec<u8>, Reserved)>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(reserved) = connection.reserve(length) else {
        return Ok(None);
    };
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some((message, reserved)))
}

/// In one segment, or one record of TLS, so far as it has room there (RFC 7766,
/// section 8).
async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    // What is encrypted is not yet sent.
    stream.flush().await
}
