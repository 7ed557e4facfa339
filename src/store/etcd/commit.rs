//! A commit: writes come in, transactions of etcd go out, and the number of the
//! commit comes back, which is the revision of the last transaction.
//!
//! First the blocks that change are read, and with them the key `commit`, whose mod
//! revision is the number of the last transaction of any writer. Each transaction
//! compares two revisions:
//!
//! * the create revision of the leader key, so that a writer that was replaced
//!   stores nothing;
//! * the mod revision of `commit`, so that a transaction which was given up, and
//!   arrives late, stores nothing after a later one; and nothing is stored in an
//!   etcd that has lost the last commit.
//!
//! Nothing is sent twice. When a transaction has failed, or its outcome is unknown,
//! the commit fails, and the caller writes again what it stands for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::info;

use super::{
    call_error::CallError,
    connection::CALL,
    election::Leadership,
    load,
    packing::{Change, Concern, MAX_OPERATIONS, Pack, pack},
    reading,
    session::Session,
    values,
    wire::{Compare, Operation, Range, RangeAnswer, Txn, revision},
};
use crate::store::{
    StoreError, Write,
    block::Block,
    replication::{BlockPlace, Ended, Stored},
};

/// How long a commit may take, beside [`EACH`] of its transactions. Whoever asked
/// for it then learns that it has failed, while they still wait for the answer.
pub const COMMIT: Duration = Duration::from_secs(4);

/// The time that each further transaction of a large commit adds.
const EACH: Duration = Duration::from_millis(100);

/// The place of a block in a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    origin: Arc<str>,
    block: BlockPlace,
}

/// The writes of a commit, applied to what is stored.
struct Plan<'s> {
    session: &'s Session,
    leadership: &'s Leadership,
    blocks: BTreeMap<Place, Block>,
    /// The number of the last transaction.
    last: i64,
}

/// Stores the writes. `seen` is the last commit that was acknowledged or read.
pub async fn commit(
    session: &Session,
    leadership: &Leadership,
    writes: &[Write],
    ended: &[Ended],
    seen: u64,
) -> Result<u64, StoreError> {
    let places = places(writes);
    let transactions = 2 * places.len().div_ceil(MAX_OPERATIONS / 2);
    let limit = COMMIT + EACH * u32::try_from(transactions).unwrap_or(u32::MAX);
    let work = async {
        let mut plan = Plan::read(session, leadership, places, seen).await?;
        plan.apply(writes);
        plan.store(writes, ended).await
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(session.unwritten(format!("etcd has not stored it within {limit}")))
    })
}

/// Ends a commit that a lost writer has left open: what it has stored is valid, and
/// serials that were never published stand for it.
pub async fn settle(session: &Session, leadership: &Leadership) -> Result<(), StoreError> {
    let found = session.ask(&Range::key(session.keys.commit())).await?;
    let mut last = Stored::default();
    for pair in &found.kvs {
        reading::add(session, &mut last, pair, false)?;
    }
    if !last.is_open {
        return Ok(());
    }
    info!(
        "{}: the last writer has stored a part of a commit, which is valid",
        session.name
    );
    let zones = load::zones(session).await?.zones;
    let serials = zones.into_iter().map(|(origin, zone)| {
        let registrations = zone.blocks.values().flatten();
        let epoch = registrations.map(|registration| registration.epoch).max();
        Write::Serial {
            origin: origin.into(),
            serial: zone.serial.max(epoch).unwrap_or(0) + 1,
        }
    });
    let serials: Vec<Write> = serials.collect();
    commit(session, leadership, &serials, &[], last.commit).await?;
    Ok(())
}

/// The blocks that the writes change.
fn places(writes: &[Write]) -> Vec<Place> {
    let mut places: Vec<Place> = writes.iter().filter_map(Place::of).collect();
    places.sort_unstable();
    places.dedup();
    places
}

impl Place {
    fn of(write: &Write) -> Option<Self> {
        let (origin, sequence, number) = match write {
            Write::Put {
                origin,
                registration: it,
            } => (origin, &it.sequence, it.number),
            Write::Delete {
                origin,
                sequence,
                number,
                ..
            } => (origin, sequence, *number),
            Write::Pin { .. } | Write::Unpin { .. } | Write::Serial { .. } => return None,
        };
        let block = BlockPlace {
            sequence: sequence.clone(),
            index: Block::place(number),
        };
        let origin = origin.clone();
        Some(Self { origin, block })
    }
}

impl<'s> Plan<'s> {
    /// Reads the blocks.
    async fn read(
        session: &'s Session,
        leadership: &'s Leadership,
        places: Vec<Place>,
        seen: u64,
    ) -> Result<Self, StoreError> {
        let mut plan = Self {
            session,
            leadership,
            blocks: BTreeMap::new(),
            last: 0,
        };
        let mut parts = places.chunks(MAX_OPERATIONS - 1).peekable();
        let first = parts.next().unwrap_or_default();
        plan.last = plan.read_part(first).await?;
        if values::number(plan.last) < seen {
            return Err(StoreError::Behind {
                store: session.name.clone(),
                known: seen,
                found: values::number(plan.last),
            });
        }
        for part in parts {
            if plan.read_part(part).await? != plan.last {
                return Err(session.unwritten(LATE));
            }
        }
        Ok(plan)
    }

    /// Reads some blocks, in a transaction of the writer. Returns the number of the
    /// last transaction.
    async fn read_part(&mut self, places: &[Place]) -> Result<i64, StoreError> {
        let session = self.session;
        let keys = &session.keys;
        let blocks = places.iter().map(|place| self.key(place));
        let reads = [keys.commit()].into_iter().chain(blocks);
        let txn = Txn {
            compare: self.is_writer().into_iter().collect(),
            success: reads.map(|key| Operation::range(Range::key(key))).collect(),
            failure: Vec::new(),
        };
        let answer = session.connection.ask(&txn, CALL).await;
        let answer = answer.map_err(|error| session.failed(error, Session::unwritten))?;
        if !answer.succeeded {
            return Err(session.deposed(REPLACED));
        }
        let mut ranges = answer.ranges();
        let last = ranges.next().unwrap_or_default();
        for (place, range) in places.iter().zip(ranges) {
            let block = self.block(place, &range)?;
            self.blocks.insert(place.clone(), block);
        }
        Ok(last.kvs.first().map_or(0, |commit| commit.mod_revision))
    }

    /// The leader key is that of this writer. In a build for tests/faults, which must
    /// notice it, this is not compared.
    fn is_writer(&self) -> Option<Compare> {
        let leader = self.session.keys.leader();
        let compare = Compare::created(leader, self.leadership.created);
        (!cfg!(feature = "broken-for-tests")).then_some(compare)
    }

    fn key(&self, place: &Place) -> Vec<u8> {
        let keys = &self.session.keys;
        keys.block(&place.origin, &place.block)
    }

    fn block(&self, place: &Place, range: &RangeAnswer) -> Result<Block, StoreError> {
        let Some(stored) = range.kvs.first() else {
            return Ok(Block::default());
        };
        Block::from_value(&place.block.sequence, place.block.index, &stored.value)
            .map_err(|error| self.session.unreadable(&stored.key, error.to_string()))
    }

    /// Applies the writes to the blocks.
    fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            let Some(place) = Place::of(write) else {
                continue;
            };
            let block = self.blocks.entry(place).or_default();
            match write {
                Write::Put { registration, .. } => block.put(registration.clone()),
                Write::Delete { host, number, .. } => block.remove(*number, host),
                Write::Pin { .. } | Write::Unpin { .. } | Write::Serial { .. } => {}
            }
        }
    }

    /// Sends the transactions.
    async fn store(&self, writes: &[Write], ended: &[Ended]) -> Result<u64, StoreError> {
        let mut last = self.last;
        let changes = self.changes(writes, ended);
        for Pack { operations, .. } in pack(&self.session.keys, changes) {
            last = self.send(operations, last).await?;
        }
        Ok(values::number(last))
    }

    /// Sends one transaction; `last` is the number of the one before. Returns its own.
    async fn send(&self, operations: Vec<Operation>, last: i64) -> Result<i64, StoreError> {
        let session = self.session;
        let keys = &session.keys;
        let in_order = Compare::modified(keys.commit(), last);
        let txn = Txn {
            compare: self.is_writer().into_iter().chain([in_order]).collect(),
            success: operations,
            failure: vec![Operation::range(Range::key(keys.leader()))],
        };
        // The limit is that of the whole commit.
        let answer = session.connection.call(txn, Duration::MAX).await;
        let answer = answer.map_err(|error| match error {
            CallError::Unavailable(reason) => {
                session.unwritten(format!("{reason}; it may have been stored"))
            }
            error => session.failed(error, Session::unwritten),
        })?;
        if answer.succeeded {
            return Ok(revision(&answer));
        }
        let leader = answer.ranges().next().unwrap_or_default();
        let created = leader.kvs.first().map(|leader| leader.create_revision);
        if created == Some(self.leadership.created) {
            Err(session.unwritten(LATE))
        } else {
            Err(session.deposed(REPLACED))
        }
    }

    /// What changes. Keys that are removed come first, so that no number is pinned
    /// to two hosts between two transactions. Serials come last: none stands for a part of
    /// what it will stand for.
    fn changes(&self, writes: &[Write], ended: &[Ended]) -> Vec<Change> {
        let keys = &self.session.keys;
        let mut others = BTreeMap::new();
        for write in writes {
            let (key, value, concerns) = match write {
                Write::Put { .. } | Write::Delete { .. } => continue,
                Write::Pin { origin, pin } => {
                    let key = keys.pin(origin, &pin.host);
                    (key, Some(pin.to_value()), Concern::Peers)
                }
                Write::Unpin { origin, host } => (keys.pin(origin, host), None, Concern::Peers),
                Write::Serial { origin, serial } => {
                    let value = values::serial(*serial);
                    (keys.serial(origin), Some(value), Concern::Serial)
                }
            };
            let change = Change {
                origin: write.origin().clone(),
                key: key.clone(),
                value,
                concerns,
            };
            // The last write of a key counts: a transaction may have only one.
            others.insert(key, change);
        }
        let blocks = self.blocks.iter().map(|(place, block)| Change {
            origin: place.origin.clone(),
            key: self.key(place),
            value: (!block.is_empty()).then(|| block.to_value()),
            concerns: Concern::Peers,
        });
        let ended = ended.iter().map(|it| Change {
            origin: it.origin.clone(),
            key: keys.ended(&it.origin, &it.place),
            value: values::ended(&it.leases),
            concerns: Concern::Other,
        });
        let changes = others.into_values().chain(blocks).chain(ended);
        let mut changes: Vec<Change> = changes.collect();
        changes.sort_by_key(|change| (change.concerns == Concern::Serial, change.value.is_some()));
        changes
    }
}

const REPLACED: &str = "another replica may be the writer: the leader key is not that of this one";

/// Why nothing of a transaction was stored.
const LATE: &str = "an earlier transaction was stored in the meantime";
