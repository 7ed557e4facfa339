//! From keys and values of etcd to what is stored of the zones.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{keys::ZoneKey, session::Session, values, wire::KeyValue};
use crate::store::{
    Contents, Pin, Registration, StoreError,
    block::Block,
    replication::{Stored, ZoneChange},
};

/// Adds the value of a key, or that it was removed. Keys of no zone are ignored, except
/// that of the last commit.
pub fn add(
    session: &Session,
    stored: &mut Stored,
    pair: &KeyValue,
    is_removed: bool,
) -> Result<(), StoreError> {
    let (keys, key) = (&session.keys, &pair.key);
    let number = values::number(pair.mod_revision);
    if *key == keys.commit() {
        stored.commit = stored.commit.max(number);
        if !is_removed {
            let is_open = values::is_open(&pair.value);
            stored.is_open = is_open.map_err(|error| session.unreadable(key, error.to_string()))?;
        }
        return Ok(());
    }
    let Some(origin) = keys.origin_of(key) else {
        return Ok(());
    };
    let Some(named) = keys.parse(&origin, key) else {
        let reason = "a key that this release does not know";
        return Err(session.unreadable(key, reason));
    };
    let unreadable = |error: serde_json::Error| session.unreadable(key, error.to_string());
    let value = (!is_removed).then_some(&*pair.value);
    let zone = stored.zones.entry(origin).or_default();
    match named {
        ZoneKey::Block(place) => {
            let block = value.map(|it| Block::from_value(&place.sequence, place.index, it));
            let block = block.transpose().map_err(unreadable)?.unwrap_or_default();
            zone.blocks
                .insert(place, block.into_registrations().collect());
        }
        ZoneKey::Ended(place) => {
            let leases = value
                .map(values::ended_in)
                .transpose()
                .map_err(unreadable)?;
            zone.ended.insert(place, leases.unwrap_or_default());
        }
        ZoneKey::Pin { host } => {
            let pin = value.map(|it| Pin::from_value(host.clone(), it));
            zone.pins.insert(host, pin.transpose().map_err(unreadable)?);
        }
        ZoneKey::Serial => {
            let serial = value
                .map(values::serial_in)
                .transpose()
                .map_err(unreadable)?;
            zone.serial = serial;
        }
        ZoneKey::Changed => zone.changed = Some(number),
        ZoneKey::Restoring if is_removed => {}
        ZoneKey::Restoring => {
            let reason = "`paramd restore` is filling the zone, or was broken off: repeat it";
            return Err(session.unreadable(key, reason));
        }
    }
    Ok(())
}

/// All that is stored of a zone, as the contents of a store.
///
/// A host has two registrations if a commit that moved it to another ID was stored in
/// part. The later one counts, which has the higher epoch: the epochs of a zone rise
/// with every holder.
pub fn contents(commit: u64, zone: ZoneChange) -> Contents {
    let mut registrations: Vec<Registration> = zone.blocks.into_values().flatten().collect();
    registrations.sort_by_key(|it| Reverse(it.epoch));
    let mut hosts = BTreeSet::new();
    registrations.retain(|it| hosts.insert(it.host.clone()));
    registrations.sort_by(|a, b| (&a.sequence, a.number).cmp(&(&b.sequence, b.number)));
    Contents {
        registrations,
        pins: zone.pins.into_values().flatten().collect(),
        serial: zone.serial.unwrap_or(0),
        commit,
        changed: zone.changed.unwrap_or(0),
    }
}
