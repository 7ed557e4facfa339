//! Reads a zone: everything as of one revision, in pages.
//!
//! The first page is read linearizably: it has every commit that was acknowledged
//! before. The other pages are read as of its revision.

use std::collections::BTreeMap;

use super::{
    connection::CallError,
    election::CALL,
    keys::ZoneKey,
    session::Session,
    values,
    wire::{KeyValue, Range, RangeAnswer, Txn, after_prefix, revision},
};
use crate::store::{Contents, Pin, Registration, StoreError, block::Block};

/// How many keys a page has: blocks take up to 10 kB each.
const PAGE: i64 = 500;

/// How often a zone is read anew when its revision was compacted meanwhile.
const ATTEMPTS: u32 = 5;

/// The contents of a zone, and registrations that later ones have replaced, which
/// must be deleted.
pub struct Loaded {
    pub contents: Contents,
    pub replaced: Vec<Registration>,
}

/// Reads a zone.
pub async fn load(session: &Session, origin: &str) -> Result<Loaded, StoreError> {
    let mut attempt = 1;
    loop {
        match Reading::all(session, origin).await {
            // etcd was compacted between two pages.
            Err(Failure::Call(CallError::Refused(_))) if attempt < ATTEMPTS => attempt += 1,
            Err(Failure::Call(error)) => {
                return Err(session.failed(error, Session::unreachable));
            }
            Err(Failure::Store(error)) => return Err(error),
            Ok(reading) => return Ok(reading.finish()),
        }
    }
}

enum Failure {
    Call(CallError),
    Store(StoreError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// A zone while it is read.
struct Reading<'s> {
    session: &'s Session,
    origin: &'s str,
    contents: Contents,
}

impl<'s> Reading<'s> {
    async fn all(session: &'s Session, origin: &'s str) -> Result<Self, Failure> {
        let keys = &session.keys;
        let single = [
            keys.commit(),
            keys.changed(origin),
            keys.serial(origin),
            keys.restoring(origin),
        ];
        let mut prefixes = [keys.blocks(origin), keys.pins(origin)].map(Some);
        let pages = prefixes.iter().flatten();
        let pages: Vec<Range> = pages
            .map(|prefix| Range::prefix(prefix.clone(), PAGE))
            .collect();
        let singles = single.iter().cloned().map(Range::key);
        let txn = Txn {
            success: singles.chain(pages).map(Into::into).collect(),
            ..Txn::default()
        };
        let answer = session.connection.ask(&txn, CALL).await?;
        let revision = revision(&answer);
        let mut reading = Self {
            session,
            origin,
            contents: Contents::default(),
        };
        let mut ranges = answer.ranges();
        let mut next = || ranges.next().unwrap_or_default();
        let [commit, changed, serial, restoring] =
            std::array::from_fn(|_| next().kvs.into_iter().next());
        let number = |key: Option<KeyValue>| key.map_or(0, |it| values::number(it.mod_revision));
        reading.contents.commit = number(commit);
        reading.contents.changed = number(changed);
        if let Some(serial) = serial {
            let value = values::serial_in(&serial.value);
            let value = value.map_err(|error| reading.unreadable(&serial.key, error))?;
            reading.contents.serial = value;
        }
        if let Some(restoring) = restoring {
            let reason = "`paramd restore` was broken off while it filled the zone: repeat it";
            return Err(Failure::Store(session.unreadable(&restoring.key, reason)));
        }
        for prefix in &mut prefixes {
            let Some(prefix) = prefix.take() else {
                continue;
            };
            let mut page = next();
            while let Some(last) = reading.add(page)? {
                page = reading.page_after(last, &prefix, revision).await?;
            }
        }
        Ok(reading)
    }

    /// The page behind this key.
    async fn page_after(
        &self,
        mut last: Vec<u8>,
        prefix: &[u8],
        revision: i64,
    ) -> Result<RangeAnswer, CallError> {
        // The next key.
        last.push(0);
        let range = Range {
            key: last,
            range_end: after_prefix(prefix),
            limit: PAGE,
            revision,
            keys_only: false,
        };
        self.session.connection.ask(&range, CALL).await
    }

    /// Adds a page. Returns its last key if there are more.
    fn add(&mut self, page: RangeAnswer) -> Result<Option<Vec<u8>>, Failure> {
        let mut last = None;
        for KeyValue { key, value, .. } in page.kvs {
            let named = self.session.keys.parse(self.origin, &key);
            match named {
                Some(ZoneKey::Block { sequence, place }) => {
                    let block = Block::from_value(&sequence, place, &value);
                    let block = block.map_err(|error| self.unreadable(&key, error))?;
                    let registrations = block.into_registrations();
                    self.contents.registrations.extend(registrations);
                }
                Some(ZoneKey::Pin { host }) => {
                    let pin = Pin::from_value(host, &value);
                    let pin = pin.map_err(|error| self.unreadable(&key, error))?;
                    self.contents.pins.push(pin);
                }
                None => {
                    let reason = "it is neither that of a block nor that of a pin";
                    return Err(Failure::Store(self.session.unreadable(&key, reason)));
                }
            }
            last = Some(key);
        }
        Ok(last.filter(|_| page.more))
    }

    fn unreadable(&self, key: &[u8], error: serde_json::Error) -> Failure {
        Failure::Store(self.session.unreadable(key, error.to_string()))
    }

    /// A host has two registrations if a commit that moved it to another ID was
    /// stored in part. The later one counts, which has the higher epoch: the epochs
    /// of a zone rise with every holder.
    fn finish(mut self) -> Loaded {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for registration in &self.contents.registrations {
            let epoch = newest.entry(&registration.host).or_default();
            *epoch = registration.epoch.max(*epoch);
        }
        let is_replaced: Vec<bool> = self
            .contents
            .registrations
            .iter()
            .map(|it| newest.get(&*it.host).is_some_and(|epoch| it.epoch < *epoch))
            .collect();
        let mut replaced = Vec::new();
        let mut kept = Vec::with_capacity(is_replaced.len());
        let registrations = std::mem::take(&mut self.contents.registrations);
        for (registration, is_replaced) in registrations.into_iter().zip(is_replaced) {
            let list = if is_replaced {
                &mut replaced
            } else {
                &mut kept
            };
            list.push(registration);
        }
        self.contents.registrations = kept;
        Loaded {
            contents: self.contents,
            replaced,
        }
    }
}

/// The origins with registrations or pins.
pub async fn origins(session: &Session) -> Result<Vec<String>, CallError> {
    let keys = &session.keys;
    let end = after_prefix(&keys.zones());
    let mut origins = Vec::new();
    let mut from = keys.zones();
    loop {
        let range = Range {
            key: from,
            range_end: end.clone(),
            limit: 1,
            revision: 0,
            keys_only: true,
        };
        let found = session.connection.ask(&range, CALL).await?;
        let Some(key) = found.kvs.first() else {
            return Ok(origins);
        };
        let Some(origin) = keys.origin_of(&key.key) else {
            // Not a key of ours.
            from = [&*key.key, b"\0"].concat();
            continue;
        };
        if has_peers(session, &origin).await? {
            origins.push(origin.clone());
        }
        // Skip all other keys of the zone, which may be very many.
        from = after_prefix(&keys.zone(&origin));
    }
}

async fn has_peers(session: &Session, origin: &str) -> Result<bool, CallError> {
    let keys = &session.keys;
    for prefix in [keys.blocks(origin), keys.pins(origin)] {
        let range = Range {
            keys_only: true,
            ..Range::prefix(prefix, 1)
        };
        if !session.connection.ask(&range, CALL).await?.kvs.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
