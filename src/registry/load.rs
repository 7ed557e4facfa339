//! From the store to a network, and back.

use std::sync::Arc;

use tracing::warn;

use super::{Published, StartError};
use crate::{
    clock::Clock,
    network::{Holder, Hostname, Network, Peer, PeerId, Sequence, StoredPeer},
    store::{Contents, Pin, Registration, Store, StoreError},
    zone::Zone,
};

/// The network as it is stored.
pub fn load(zone: &Zone, contents: Contents, clock: &Clock) -> Result<Network, StartError> {
    let misfit = |reason: String, remedy| StartError::Misfit {
        path: zone.path.display().to_string(),
        zone: zone.to_string(),
        reason,
        remedy,
    };
    let mut peers = Vec::with_capacity(contents.registrations.len());
    for registration in contents.registrations {
        let Registration {
            host,
            sequence,
            number,
            role,
            source,
            address,
            epoch,
        } = registration;
        let unknown = |what: &str| {
            misfit(
                format!("{host} has {what}, which the zone file does not have"),
                "write it again, or release the host with `paramd release`",
            )
        };
        let hostname: Hostname = host
            .parse()
            .map_err(|_| unknown("a name that no host may have"))?;
        if zone.gives_away(&hostname) {
            return Err(misfit(
                format!("{host} is registered, and a name of the zone's master file or an ID"),
                "give that name up, or release the host with `paramd release`",
            ));
        }
        let place = zone
            .rules
            .sequences
            .iter()
            .position(|rule| rule.name == sequence);
        let place = place.ok_or_else(|| unknown(&format!("an ID of the sequence {sequence}")))?;
        let role_place = zone.rules.role_named(&role);
        let role = role_place.ok_or_else(|| unknown(&format!("the role {role}")))?;
        let id = PeerId {
            sequence: Sequence(place as u16),
            number,
        };
        peers.push(StoredPeer {
            host: hostname,
            id,
            role,
            holder: Holder { source, address },
            epoch,
        });
    }
    // Far faster than in the order of the hosts: what goes into the network's
    // maps one after the other is then next to each other there.
    peers.sort_unstable_by_key(|peer| peer.id);
    let mut pins = Vec::with_capacity(contents.pins.len());
    for Pin {
        host,
        sequence,
        number,
    } in contents.pins
    {
        let unknown = |what: &str| {
            misfit(
                format!("{what} is pinned to {host}, which the zone file does not have"),
                "write it again, or release the host with `paramd release`",
            )
        };
        let hostname: Hostname = host.parse().map_err(|_| unknown("an ID"))?;
        let id = zone.rules.id_named(&format!("{sequence}{number}"));
        let id = id.ok_or_else(|| unknown(&format!("{sequence}{number}")))?;
        pins.push((hostname, id));
    }
    let serial = contents.serial.max(1);
    Network::restore(zone.rules.clone(), serial, peers, pins, clock.now()).map_err(|conflict| {
        misfit(
            conflict.to_string(),
            "raise n or the limit again, or release the host with `paramd release`",
        )
    })
}

/// Says which zones are stored that no zone file describes; they are kept.
pub(super) fn warn_of_strangers(
    store: &mut dyn Store,
    zones: &[Arc<Published>],
) -> Result<(), StoreError> {
    for origin in store.origins()? {
        if !zones.iter().any(|known| known.zone.origin_text() == origin) {
            warn!("the store has registrations of {origin}, but no zone file does: they are kept");
        }
    }
    Ok(())
}

/// What a pin looks like in the store.
pub(super) fn pin(zone: &Zone, host: &Hostname, id: PeerId) -> Pin {
    Pin {
        host: host.to_string(),
        sequence: zone.rules.sequence(id.sequence).name.clone(),
        number: id.number,
    }
}

/// What a peer's registration looks like in the store.
pub(super) fn registration(zone: &Zone, peer: &Peer) -> Registration {
    Registration {
        host: peer.host.to_string(),
        sequence: zone.rules.sequence(peer.id.sequence).name.clone(),
        number: peer.id.number,
        role: zone.rules.role(peer.role).name.clone(),
        source: peer.holder.source,
        address: peer.holder.address,
        epoch: peer.epoch,
    }
}
