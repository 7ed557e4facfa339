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

use hickory_proto::{op::ResponseCode, rr::Record};
use hickory_server::server::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::{
    packing::Packing,
    reply::{ExtendedError, Reply, Terms},
};
use crate::{
    network::{Network, Time},
    settings::{Document, Table},
    zone::{Part, Ready, Sets, Zone},
};

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
    pub fn take(&mut self, table: &mut Table<'_>, source: &mut Document<'_>) {
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
        let empty = Reply::new(&self.request, &self.terms).transfer();
        let signature = self.terms.signature.clone();
        let mut packing = Packing::new(&empty, &self.zone.origin, signature, hand_on)?;
        let soa = match self.content {
            Content::Zone => self.add_zone(&mut packing)?,
            Content::Status(now) => {
                let mut records = self.zone.status(&self.network, now);
                let soa = records.next()?;
                packing.add_record(&soa)?;
                records.try_for_each(|record| packing.add_record(&record))?;
                soa.into()
            }
        };
        // Again at the end (RFC 5936, section 2.2).
        packing.add_record(&soa)?;
        packing.end()
    }

    /// Adds the zone; gives the SOA, which is its first record.
    fn add_zone(
        &self,
        packing: &mut Packing<impl FnMut(Vec<u8>) -> Option<()>>,
    ) -> Option<Box<Record>> {
        let ready = Ready::new(self.zone.clone(), self.network.clone());
        let mut sets = Sets::default();
        let mut soa = None;
        // A `for` loop would move each part through all that the iterator is made
        // of.
        self.zone.parts(&self.network).try_for_each(|part| {
            let peer = match part {
                Part::Record(record) => {
                    packing.add_record(&record)?;
                    soa.get_or_insert(record);
                    return Some(());
                }
                Part::Peer(peer) => peer,
            };
            ready.records(peer, &mut sets)?;
            for set in &sets {
                for record in set.records() {
                    packing.add(&set.labels, record)?;
                }
            }
            Some(())
        })?;
        soa
    }
}
