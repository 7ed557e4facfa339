//! Converts peers and pins of a network to records of the store.

use crate::{
    network::{Hostname, Peer, PeerId},
    store::{Pin, Registration},
    zone::Zone,
};

/// The stored form of a pin.
pub(super) fn pin(zone: &Zone, host: &Hostname, id: PeerId) -> Pin {
    Pin {
        host: host.to_string(),
        sequence: zone.rules.sequence(id.sequence).name.clone(),
        number: id.number,
    }
}

/// The stored form of a registration.
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
