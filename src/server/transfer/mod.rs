//! A whole zone in messages (AXFR, RFC 5936), and how much of it a client is
//! given.
//!
//! In comes a zone with the state of its network; out go the messages, several at
//! once, to whoever writes them. Nothing here decides who may have a zone, or opens a
//! connection.

mod packing;

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use self::packing::Packing;
use super::{
    config::limits::TransferLimits, extended_error::ExtendedError, policy::tsig::Signature,
    reply::Reply,
};
use crate::{
    network::Time,
    zone::{RecordSets, Zone, ZonePart, ZoneView},
};

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
            zone: transfer.view.zone.clone(),
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
    view: Arc<ZoneView>,
    content: Content,
    /// The first message without its records, and what all of them end with.
    head: Vec<u8>,
    opt: Vec<u8>,
    signature: Option<Signature>,
    /// The reply to a client for whom there is no room.
    refused: Vec<u8>,
}

impl Transfer {
    pub fn new(reply: &Reply<'_>, view: Arc<ZoneView>, content: Content) -> Self {
        let (head, opt) = reply.transfer();
        let error = ExtendedError::other("too many transfers are running");
        let mut refused = Vec::new();
        reply.error(ResponseCode::Refused, Some(error), &mut refused);
        Self {
            view,
            content,
            head,
            opt,
            signature: reply.signature.cloned(),
            refused,
        }
    }

    /// The reply to a client for whom there is no room.
    pub fn refused(&self) -> &[u8] {
        &self.refused
    }

    /// Makes the messages and hands on several at once, each with its length, until
    /// there is `None` who takes them.
    pub fn make(&self, hand_on: impl FnMut(Vec<u8>) -> Option<()>) -> Option<()> {
        let zone = &self.view.zone;
        let (head, opt) = (self.head.clone(), self.opt.clone());
        let mut packing = Packing::new(head, opt, &zone.origin, self.signature.clone(), hand_on);
        let soa = match self.content {
            Content::Zone => self.add_zone(&mut packing)?,
            Content::Status(now) => {
                let mut records = zone.status(&self.view.network, now);
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
        let mut sets = RecordSets::default();
        let mut soa = None;
        // A `for` loop would move each part through all that the iterator is made
        // of.
        self.view
            .zone
            .parts(&self.view.network)
            .try_for_each(|part| {
                let peer = match part {
                    ZonePart::Record(record) => {
                        packing.add_record(&record)?;
                        soa.get_or_insert(record);
                        return Some(());
                    }
                    ZonePart::Peer(peer) => peer,
                };
                self.view.write_sets(peer, &mut sets)?;
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
