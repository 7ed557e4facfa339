//! A whole zone in messages (AXFR, RFC 5936), and how much of it a client is
//! given.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record},
    serialize::binary::{BinEncodable, BinEncoder},
};
use hickory_server::server::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::{
    reply::{ExtendedError, Reply, Terms},
    tcp::framed,
    tsig::Signature,
};
use crate::{
    network::{Network, Time},
    settings::{Source, Table},
    zone::Zone,
};

/// How many octets of records go into one message, before names are
/// compressed. A name can point no further back than 16 kB.
const MESSAGE_OCTETS: usize = 16_384;

/// How many octets are written at once: several messages, since with each time
/// the writer is woken, and takes a moment of the processor from queries.
const WRITTEN_OCTETS: usize = 4 * MESSAGE_OCTETS;

/// A day, in seconds.
const DAY: u64 = 86_400;

/// How many transfers can be allowed at once, and how many MiB to each.
const MOST_TRANSFERS: u64 = 1_024;
const MOST_MEBIBYTES: u64 = 1 << 24;

/// How much a client may make of a transfer. Each holds a zone as it was, for
/// as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// From the query until the last message is written.
    pub time: Duration,
    pub octets: u64,
    /// How many run at once.
    pub count: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            octets: 8_192 << 20,
            count: 8,
        }
    }
}

impl TransferLimits {
    /// Reads the keys of transfers in `[limits]`.
    pub fn take(&mut self, table: &mut Table<'_>, source: &mut Source<'_>) {
        if let Some(time) = table.duration("transfer_time", 1..DAY + 1, source) {
            self.time = time;
        }
        let mebibytes = table.number("transfer_mebibytes", 1..MOST_MEBIBYTES + 1, source);
        if let Some(mebibytes) = mebibytes {
            self.octets = u64::from(mebibytes.into_inner()) << 20;
        }
        if let Some(count) = table.number("transfers", 1..MOST_TRANSFERS + 1, source) {
            self.count = count.into_inner() as usize;
        }
    }
}

/// The transfers that run.
pub struct Transfers {
    limits: TransferLimits,
    free: Arc<Semaphore>,
}

impl Transfers {
    pub fn new(limits: TransferLimits) -> Self {
        Self {
            limits,
            free: Arc::new(Semaphore::new(limits.count)),
        }
    }

    /// Counts one more, if there may be one.
    pub fn begin(&self, transfer: &Transfer, peer: SocketAddr) -> Option<Arc<Running>> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Arc::new(Running {
            zone: transfer.zone.clone(),
            peer,
            limits: self.limits,
            begun: Instant::now(),
            octets: AtomicU64::new(0),
            _permit: permit,
        }))
    }
}

/// A transfer that is counted until this is dropped: when its last message is
/// written.
pub struct Running {
    zone: Arc<Zone>,
    peer: SocketAddr,
    limits: TransferLimits,
    begun: Instant,
    octets: AtomicU64,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// Counts that many octets more; gives the time that is left to write them.
    ///
    /// # Errors
    ///
    /// That a limit is passed, which is logged here, and ends the connection.
    pub fn allow(&self, octets: usize) -> io::Result<Duration> {
        let octets = octets as u64;
        let sent = self.octets.fetch_add(octets, Ordering::Relaxed) + octets;
        let left = self.limits.time.saturating_sub(self.begun.elapsed());
        let passed = if sent > self.limits.octets {
            format!("it is larger than {} MiB", self.limits.octets >> 20)
        } else if left.is_zero() {
            let time = humantime::format_duration(self.limits.time);
            format!("it takes longer than {time}")
        } else {
            return Ok(left);
        };
        let Self { zone, peer, .. } = self;
        warn!("the transfer of {zone} to {peer} is broken off: {passed}, the limit");
        Err(io::Error::other("a limit of transfers"))
    }
}

/// What is transferred.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// The zone.
    Zone,
    /// The zone below `_peers`: the state of each peer at that time.
    Status(Time),
}

/// A transfer to be made. It holds the network as it was when it was asked
/// for, so that all of it belongs to one serial however long it takes.
pub struct Transfer {
    pub request: Request,
    pub terms: Terms,
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    pub content: Content,
}

impl Transfer {
    /// The reply to a client for whom there is no room.
    pub fn refused(&self) -> Option<Vec<u8>> {
        let error = ExtendedError::other("too many transfers are running");
        Reply::new(&self.request, &self.terms).error(ResponseCode::Refused, Some(error))
    }

    /// Makes the messages and hands on several at once, each with its length, until
    /// there is `None` who takes them.
    pub fn make(&self, hand_on: impl FnMut(Vec<u8>) -> Option<()>) -> Option<()> {
        let mut packing = Packing {
            message: Reply::new(&self.request, &self.terms).transfer(),
            octets: 0,
            made: Vec::with_capacity(WRITTEN_OCTETS),
            signature: self.terms.signature.clone(),
            is_first: true,
            hand_on,
        };
        // A `for` loop would move each record through all the parts that the
        // iterator is made of.
        self.records().try_for_each(|record| packing.add(record))?;
        packing.end_message()?;
        packing.hand_on()
    }

    /// The SOA first, and again at the end (RFC 5936, section 2.2).
    fn records(&self) -> impl Iterator<Item = Record> {
        let zone = match self.content {
            Content::Zone => Some(self.zone.content(&self.network)),
            Content::Status(_) => None,
        };
        let status = match self.content {
            Content::Status(now) => Some(self.zone.status(&self.network, now)),
            Content::Zone => None,
        };
        let mut records = zone
            .into_iter()
            .flatten()
            .chain(status.into_iter().flatten());
        let soa = records.next();
        soa.clone().into_iter().chain(records).chain(soa)
    }
}

/// The message that is being made, and those before it.
struct Packing<F> {
    message: Message,
    /// How many the records of the message have.
    octets: usize,
    /// The messages that are made and not yet handed on.
    made: Vec<u8>,
    signature: Option<Signature>,
    is_first: bool,
    hand_on: F,
}

impl<F: FnMut(Vec<u8>) -> Option<()>> Packing<F> {
    /// Adds a record; where it has no room, to the next message.
    fn add(&mut self, record: Record) -> Option<()> {
        let octets = length(&record);
        if self.octets > 0 && self.octets + octets > MESSAGE_OCTETS {
            self.end_message()?;
        }
        self.octets += octets;
        self.message.answers.push(record);
        Some(())
    }

    fn end_message(&mut self) -> Option<()> {
        let mut octets = Vec::with_capacity(MESSAGE_OCTETS);
        self.message.emit(&mut BinEncoder::new(&mut octets)).ok()?;
        self.message.answers.clear();
        // The question is in the first one only (RFC 5936, section 2.2.1).
        self.message.queries.clear();
        self.octets = 0;
        let is_first = std::mem::take(&mut self.is_first);
        let message = match &mut self.signature {
            Some(signature) if is_first => signature.sign(octets)?,
            Some(signature) => signature.sign_next(octets)?,
            None => octets,
        };
        if self.made.len() + 2 + message.len() > WRITTEN_OCTETS {
            self.hand_on()?;
        }
        framed(&mut self.made, &message);
        Some(())
    }

    fn hand_on(&mut self) -> Option<()> {
        let next = Vec::with_capacity(WRITTEN_OCTETS);
        (self.hand_on)(std::mem::replace(&mut self.made, next))
    }
}

/// How many octets a record takes when its names are not compressed. Where a
/// record cannot be written, the message that it goes into cannot either.
fn length(record: &Record) -> usize {
    let data = match &record.data {
        RData::TXT(txt) => txt.txt_data.iter().map(|string| 1 + string.len()).sum(),
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::SRV(srv) => 6 + srv.target.len(),
        _ => {
            let mut octets = Vec::new();
            let mut encoder = BinEncoder::new(&mut octets);
            let _ = record.emit(&mut encoder);
            octets.len()
        }
    };
    record.name.len() + 10 + data
}
