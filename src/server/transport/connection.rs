//! Serves a connection (RFC 7766), by TCP or by TLS.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    time::timeout,
};
use tracing::warn;

use super::{
    connections::{Connection, IDLE_TIMEOUT, MAX_REPLY_OCTETS, Reservation},
    shared::{REPLY_TIMEOUT, SHUTDOWN_TIMEOUT, Shared},
};
use crate::server::{
    background,
    policy::source::Source,
    query::Outcome,
    transfer::{RunningTransfer, Transfer},
    wire::push_framed,
};

/// The memory of a query that waits for the registry or an upstream, in bytes.
const PENDING_BYTES: usize = 4_096;

/// The maximum number of parts of a transfer that wait to be written.
const TRANSFER_PARTS: usize = 16;

/// What the service of one connection requires.
#[derive(Clone, Copy)]
pub struct Session<'c> {
    pub source: Source,
    pub connection: &'c Connection,
    pub shared: &'c Arc<Shared>,
}

/// Answers the messages of a connection until it ends, its idle timeout expires, or
/// the service stops. Replies are sent as soon as they are ready, in any order
/// (RFC 7766, section 7), and every message that was read is answered before the
/// connection ends. No message is read while there is no room for its reply.
pub async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    session: Session<'_>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut stopped = stopping.clone();
    // The service has been stopping for so long that it waits for no client any longer.
    // A transfer may take far longer, and while it runs, the state that it shares could
    // not be released.
    let shutdown = async {
        // If the sender is gone, the service has ended as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let reading = read_all(reader, session, sender, stopping);
    let writing = async {
        tokio::select! {
            result = write_all(writer, receiver) => result,
            () = shutdown => Err(io::Error::other("the service is stopping")),
        }
    };
    let ((), result) = tokio::join!(reading, writing);
    result
}

/// Reads messages and answers them.
async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    session: Session<'_>,
    sender: UnboundedSender<Outgoing>,
    mut stopping: watch::Receiver<bool>,
) {
    let Session {
        source,
        connection,
        shared,
    } = session;
    loop {
        let next = async {
            connection.has_room().await;
            timeout(connection.idle_timeout(), read(&mut reader, connection)).await
        };
        let message = tokio::select! {
            message = next => message,
            // The writer has ended: a limit was exceeded, or the client is gone.
            () = sender.closed() => return,
            _ = stopping.changed() => return,
        };
        // The connection is closed, broken or idle.
        let Ok(Some(message)) = message else {
            return;
        };
        let Some(mut reservation) = connection.reserve(MAX_REPLY_OCTETS) else {
            return;
        };
        let source = Source {
            idle_timeout: Some(connection.idle_timeout()),
            ..source
        };
        let turn = tokio::select! {
            turn = connection.turn() => turn,
            () = sender.closed() => return,
        };
        let responder = &shared.responder;
        if !connection.is_protected() && responder.policy.is_signed(&message) {
            connection.protect();
        }
        let mut reply = Vec::new();
        let outcome = responder.handle(&responder.snapshot(), &message, &source, &mut reply);
        // Another connection of the network gets the next turn, if one waits for it.
        drop(turn);
        tokio::task::yield_now().await;
        match outcome {
            Outcome::Reply if !reply.is_empty() => {
                reservation.shrink(reply.len() + 2);
                // If the writer has ended, the client is gone.
                let _ = sender.send(Outgoing::message(&reply, reservation));
            }
            // A reply that cannot be signed is not sent.
            Outcome::Reply | Outcome::NoReply => return,
            Outcome::Pending(pending) => {
                reservation.shrink(PENDING_BYTES);
                let (sender, shared) = (sender.clone(), shared.clone());
                tokio::spawn(async move {
                    let reply = shared.responder.finish(*pending);
                    if let Ok(Some(reply)) = timeout(REPLY_TIMEOUT, reply).await {
                        let _ = sender.send(Outgoing::message(&reply, reservation));
                    }
                });
            }
            Outcome::Transfer(transfer) => {
                reservation.shrink(PENDING_BYTES);
                let refusal = Outgoing::message(transfer.refusal(), reservation);
                match shared.transfers.begin(&transfer, source.address) {
                    Some(running) => {
                        let sender = sender.clone();
                        tokio::spawn(write_transfer(*transfer, running, refusal, sender));
                    }
                    None => _ = sender.send(refusal),
                }
            }
        }
    }
}

/// Passes the messages of a transfer to the writer, or the refusal if that is impossible.
async fn write_transfer(
    transfer: Transfer,
    running: Arc<RunningTransfer>,
    refusal: Outgoing,
    sender: UnboundedSender<Outgoing>,
) {
    let part_sender = sender.clone();
    let parts = Arc::new(Semaphore::new(TRANSFER_PARTS));
    let runtime = Handle::current();
    // A large zone must delay neither other connections nor queries by UDP.
    let writing = background::run("transfer", move || {
        transfer.write(|octets| {
            let part = runtime.block_on(parts.clone().acquire_owned()).ok()?;
            let outgoing = Outgoing {
                octets,
                transfer: Some((running.clone(), part)),
                _reservation: None,
            };
            part_sender.send(outgoing).ok()
        });
    });
    if let Err(error) = writing.await {
        warn!("cannot start a thread for a transfer: {error}");
        let _ = sender.send(refusal);
    }
}

/// Octets to be written at once: a message with its length, or several messages of a
/// transfer.
struct Outgoing {
    octets: Vec<u8>,
    transfer: Option<(Arc<RunningTransfer>, OwnedSemaphorePermit)>,
    /// Released when the octets are written.
    _reservation: Option<Reservation>,
}

impl Outgoing {
    fn message(message: &[u8], reservation: Reservation) -> Self {
        let mut octets = Vec::with_capacity(2 + message.len());
        push_framed(&mut octets, message);
        Self {
            octets,
            transfer: None,
            _reservation: Some(reservation),
        }
    }
}

/// Writes messages until all are written, the client reads none, or a transfer
/// exceeds its limits.
async fn write_all(
    mut writer: impl AsyncWrite + Unpin,
    mut receiver: UnboundedReceiver<Outgoing>,
) -> io::Result<()> {
    while let Some(next) = receiver.recv().await {
        let transfer = next.transfer.as_ref().map(|(running, _)| running);
        let time = match transfer {
            Some(transfer) => transfer.count(next.octets.len())?.min(IDLE_TIMEOUT),
            None => IDLE_TIMEOUT,
        };
        // One TCP segment or one TLS record if they fit (RFC 7766, section 8).
        let writing = async {
            writer.write_all(&next.octets).await?;
            // TLS buffers what it has encrypted.
            writer.flush().await
        };
        match timeout(time, writing).await {
            Ok(result) => result?,
            Err(elapsed) => {
                if let Some(transfer) = transfer {
                    // Logs and returns an error if the time of the transfer is over.
                    transfer.count(0)?;
                }
                return Err(elapsed.into());
            }
        }
    }
    // In TLS this tells the client that nothing follows (RFC 8446, section 6.1). It
    // may fail, since the client may be gone.
    let _ = timeout(IDLE_TIMEOUT, writer.shutdown()).await;
    Ok(())
}

/// Reads a message, whose memory is reserved until then. Returns `None` if the client has
/// closed the connection, or the connection was evicted.
async fn read(stream: &mut (impl AsyncRead + Unpin), connection: &Connection) -> Option<Vec<u8>> {
    let length = usize::from(stream.read_u16().await.ok()?);
    let _reservation = connection.reserve(length)?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}
