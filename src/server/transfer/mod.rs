//! Writes a whole zone as messages (AXFR, RFC 5936), within the limits of transfers.
//!
//! The input is a zone with the state of its network; the output is the messages,
//! several at once. This module does not decide which clients may transfer a zone, and
//! opens no connection.

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

use self::packing::MessagePacker;
use super::{
    config::limits::TransferLimits, extended_error::ExtendedError, policy::tsig::Signature,
    reply::Reply,
};
use crate::{
    network::Time,
    zone::{RecordSets, Zone, ZonePart, ZoneView},
};

/// The running transfers.
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

    /// Starts a transfer; `None` at the limit of concurrent transfers.
    pub fn begin(&self, transfer: &Transfer, client: SocketAddr) -> Option<Arc<RunningTransfer>> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Arc::new(RunningTransfer {
            zone: transfer.view.zone.clone(),
            client,
            limits: self.limits,
            start: Instant::now(),
            sent: AtomicU64::new(0),
            _permit: permit,
        }))
    }
}

/// A running transfer. It counts until it is dropped, when its last message is written.
pub struct RunningTransfer {
    zone: Arc<Zone>,
    client: SocketAddr,
    limits: TransferLimits,
    start: Instant,
    sent: AtomicU64,
    _permit: OwnedSemaphorePermit,
}

impl RunningTransfer {
    /// Counts octets to be sent, and returns the time that is left to send them.
    ///
    /// # Errors
    ///
    /// The transfer exceeds a limit, which is logged here. This ends the connection.
    pub fn count(&self, octets: usize) -> io::Result<Duration> {
        let octets = octets as u64;
        let sent = self.sent.fetch_add(octets, Ordering::Relaxed) + octets;
        let left = self.limits.time.saturating_sub(self.start.elapsed());
        let limit = if sent > self.limits.bytes {
            format!("{} MiB", self.limits.bytes >> 20)
        } else if left.is_zero() {
            humantime::format_duration(self.limits.time).to_string()
        } else {
            return Ok(left);
        };
        let Self { zone, client, .. } = self;
        warn!("the transfer of {zone} to {client} was aborted: it exceeds the limit of {limit}");
        Err(io::Error::other("the transfer exceeds a limit"))
    }
}

/// The content of a transfer.
#[derive(Debug, Clone, Copy)]
pub enum TransferContent {
    /// The zone.
    Zone,
    /// The zone below `_peers`: the state of each peer at this time.
    Status(Time),
}

/// A zone transfer. It holds a snapshot of the network from the time of the query, so
/// that everything belongs to one serial, however long it takes.
pub struct Transfer {
    view: Arc<ZoneView>,
    content: TransferContent,
    /// The first message without its records.
    head: Vec<u8>,
    /// The OPT record at the end of each message.
    opt: Vec<u8>,
    signature: Option<Signature>,
    refusal: Vec<u8>,
}

impl Transfer {
    pub fn new(reply: &Reply<'_>, view: Arc<ZoneView>, content: TransferContent) -> Self {
        let (head, opt) = reply.transfer();
        let error = ExtendedError::other("too many transfers are running");
        let mut refusal = Vec::new();
        reply.error(ResponseCode::Refused, Some(error), &mut refusal);
        Self {
            view,
            content,
            head,
            opt,
            signature: reply.signature.cloned(),
            refusal,
        }
    }

    /// The reply at the limit of concurrent transfers.
    pub fn refusal(&self) -> &[u8] {
        &self.refusal
    }

    /// Writes the messages, each with its length before it, and passes several at once
    /// to `send`. Ends early if `send` returns `None`.
    pub fn write(&self, send: impl FnMut(Vec<u8>) -> Option<()>) -> Option<()> {
        let zone = &self.view.zone;
        let (head, opt) = (self.head.clone(), self.opt.clone());
        let mut packer = MessagePacker::new(head, opt, &zone.origin, self.signature.clone(), send);
        let soa = match self.content {
            TransferContent::Zone => self.add_zone(&mut packer)?,
            TransferContent::Status(now) => {
                let mut records = zone.status(&self.view.network, now);
                let soa = records.next()?;
                packer.add_record(&soa)?;
                records.try_for_each(|record| packer.add_record(&record))?;
                soa.into()
            }
        };
        // The SOA record is repeated at the end (RFC 5936, section 2.2).
        packer.add_record(&soa)?;
        packer.end()
    }

    /// Adds the zone, and returns the SOA record, which is its first.
    fn add_zone(
        &self,
        packer: &mut MessagePacker<impl FnMut(Vec<u8>) -> Option<()>>,
    ) -> Option<Box<Record>> {
        let mut sets = RecordSets::default();
        let mut soa = None;
        // A `for` loop would move each part through all adapters of the iterator.
        self.view
            .zone
            .parts(&self.view.network)
            .try_for_each(|part| {
                let peer = match part {
                    ZonePart::Record(record) => {
                        packer.add_record(&record)?;
                        soa.get_or_insert(record);
                        return Some(());
                    }
                    ZonePart::Peer(peer) => peer,
                };
                self.view.write_sets(peer, &mut sets)?;
                for set in &sets {
                    for record in set.records() {
                        packer.add(&set.labels, record)?;
                    }
                }
                Some(())
            })?;
        soa
    }
}
