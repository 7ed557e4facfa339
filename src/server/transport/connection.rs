//! A connection (RFC 7766), by TCP or by TLS.

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
    connections::{Connection, IDLE, LARGEST_REPLY, Reserved},
    shared::{GRACE, PATIENCE, Shared},
};
use crate::server::{
    background,
    policy::source::Source,
    query::Outcome,
    transfer::{Running, Transfer},
    wire::framed,
};

/// What a query takes that waits for the registry or an upstream, in octets.
const WAITING_OCTETS: usize = 4_096;

/// How many parts of a transfer wait to be written.
const TRANSFER_PARTS: usize = 16;

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
pub struct Peer<'c> {
    pub source: Source,
    pub connection: &'c Connection,
    pub shared: &'c Arc<Shared>,
}

/// Takes the messages of a connection until it ends or idles, or the service
/// stops. Each is answered when it can be, whatever the order (RFC 7766,
/// section 7), and what has been taken is answered before the end. No message is
/// read for whose answer there is no room.
pub async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    peer: Peer<'_>,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let (answers, outgoing) = mpsc::unbounded_channel();
    let last = over(stopping.clone());
    let reading = read_all(reader, peer, answers, stopping);
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
    peer: Peer<'_>,
    answers: UnboundedSender<Outgoing>,
    mut stopping: watch::Receiver<bool>,
) {
    let Peer {
        source,
        connection,
        shared,
    } = peer;
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
        let source = source.on_connection(connection.idle());
        let turn = tokio::select! {
            turn = connection.turn() => turn,
            () = answers.closed() => return,
        };
        let responder = &shared.responder;
        if !connection.is_kept() && responder.is_signed(&message) {
            connection.keep();
        }
        let mut reply = Vec::new();
        let outcome = responder.handle(&responder.snapshot(), &message, &source, &mut reply);
        // The next turn is another's, if anybody waits for one.
        drop(turn);
        tokio::task::yield_now().await;
        match outcome {
            Outcome::Silence => return,
            // What cannot be signed is not sent.
            Outcome::Reply if reply.is_empty() => return,
            Outcome::Reply => {
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
        Outcome::Silence | Outcome::Reply => {}
        Outcome::Later(pending) => {
            let reply = shared.responder.finish(*pending);
            if let Ok(Some(reply)) = timeout(PATIENCE, reply).await {
                let _ = answers.send(Outgoing::message(&reply, Some(reserved)));
            }
        }
        Outcome::Transfer(transfer) => {
            let Some(running) = shared.transfers.begin(&transfer, source.address) else {
                let refused = Outgoing::message(transfer.refused(), Some(reserved));
                let _ = answers.send(refused);
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
                let refused = Outgoing::message(transfer.refused(), Some(reserved));
                let _ = answers.send(refused);
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
