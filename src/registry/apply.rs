//! From what is stored to changes of a network, for a replica that follows the writer.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    load::{Misfit, stored_peer, stored_pin},
    replication::sequence_named,
    shared::EndedLeases,
};
use crate::{
    network::{Network, PeerId, Replicated, Time},
    store::replication::{BLOCK, BlockPlace, ZoneChange},
    zone::Zone,
};

/// Changes the network of a zone as it was stored. `serial` is the first one that was
/// never published. Returns what does not fit the zone file.
pub(super) fn apply(
    zone: &Zone,
    place: usize,
    network: &mut Network,
    change: ZoneChange,
    ended: &mut EndedLeases,
    serial: u64,
    now: Time,
) -> Vec<Misfit> {
    let mut problems = Vec::new();
    let mut changes = Vec::new();
    let mut touched = BTreeSet::new();
    for (BlockPlace { sequence, index }, leases) in change.ended {
        if let Some(sequence) = sequence_named(zone, &sequence) {
            touched.insert((sequence, index));
            let before = ended.of((place, sequence, index));
            let before = before.map_or(&[][..], |before| &before.ended);
            let again = leases.ended.iter().filter(|lease| !before.contains(lease));
            changes.extend(again.map(|lease| {
                let number = lease.number;
                Replicated::EndedAgain(PeerId { sequence, number })
            }));
            changes.extend(numbers_of(index).map(|number| {
                let mut withheld = leases.withheld.iter();
                let withheld = withheld.find(|withheld| withheld.number == number);
                let host = withheld.and_then(|withheld| withheld.host.parse().ok());
                Replicated::Withheld(PeerId { sequence, number }, host)
            }));
            ended.set((place, sequence, index), leases);
        }
    }
    for (BlockPlace { sequence, index }, registrations) in change.blocks {
        let known = sequence_named(zone, &sequence);
        let mut holders = BTreeMap::new();
        for registration in registrations {
            match stored_peer(zone, registration) {
                Ok(peer) => drop(holders.insert(peer.id.number, peer)),
                Err(misfit) => problems.push(misfit),
            }
        }
        let Some(sequence) = known else {
            continue;
        };
        touched.insert((sequence, index));
        for number in numbers_of(index) {
            let id = PeerId { sequence, number };
            changes.push(Replicated::Holder(id, holders.remove(&number)));
        }
    }
    for (sequence, index) in touched {
        let leases = ended.of((place, sequence, index));
        let leases = leases.map_or(&[][..], |leases| &leases.ended);
        changes.extend(numbers_of(index).map(|number| {
            let id = PeerId { sequence, number };
            if leases.iter().any(|lease| lease.number == number) {
                Replicated::Ended(id)
            } else {
                Replicated::Live(id)
            }
        }));
    }
    for (host, pin) in change.pins {
        match pin.map(|pin| stored_pin(zone, &pin)) {
            None => changes.extend(host.parse().ok().map(|host| Replicated::Pin(host, None))),
            Some(Ok((host, id))) => changes.push(Replicated::Pin(host, Some(id))),
            Some(Err(misfit)) => problems.push(misfit),
        }
    }
    let revision = serial.saturating_sub(1).max(1);
    let conflicts = network.replicate(changes, revision, now);
    problems.extend(conflicts.into_iter().map(Misfit::from));
    problems
}

fn numbers_of(index: u32) -> Range<u32> {
    let first = index.saturating_mul(BLOCK);
    first..first.saturating_add(BLOCK)
}
