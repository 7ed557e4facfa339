//! Builds a network from the contents of the store.

use std::sync::Arc;

use tracing::warn;

use super::PublishedZone;
use crate::{
    clock::Clock,
    network::{Conflict, Holder, Hostname, Network, PeerId, Sequence, StoredPeer},
    store::{Contents, Pin, Registration, StoreError},
    zone::Zone,
};

/// The store fails, or its contents do not fit the zone file.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{path}: the registrations of {zone} do not fit: {first}{}",
        match more {
            0 => String::new(),
            more => format!("; and {more} more, which `paramd check --data DIR` lists"),
        }
    )]
    Misfit {
        path: String,
        zone: String,
        first: Box<Misfit>,
        more: usize,
    },
}

/// A stored registration or pin that the zone file does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Misfit {
    /// Names the host and its ID.
    pub reason: String,
    pub remedy: &'static str,
}

/// Builds the network of a zone from its stored contents.
pub fn load(zone: &Zone, contents: Contents, clock: &Clock) -> Result<Network, StartError> {
    let (network, misfits) = fit(zone, contents, clock);
    refuse(zone, misfits)?;
    Ok(network)
}

/// Fails if there is anything that does not fit the zone.
pub(super) fn refuse(zone: &Zone, misfits: Vec<Misfit>) -> Result<(), StartError> {
    let more = misfits.len().saturating_sub(1);
    match misfits.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(StartError::Misfit {
            path: zone.path.display().to_string(),
            zone: zone.to_string(),
            first: Box::new(first),
            more,
        }),
    }
}

/// Everything stored that the zone file does not allow. The service does not start
/// while there is anything.
pub fn misfits(zone: &Zone, contents: Contents) -> Vec<Misfit> {
    fit(zone, contents, &Clock::start()).1
}

/// The network of everything that fits, and everything that does not.
fn fit(zone: &Zone, contents: Contents, clock: &Clock) -> (Network, Vec<Misfit>) {
    let mut misfits = Vec::new();
    let mut peers = Vec::with_capacity(contents.registrations.len());
    for registration in contents.registrations {
        match stored_peer(zone, registration) {
            Ok(peer) => peers.push(peer),
            Err(misfit) => misfits.push(misfit),
        }
    }
    // Far faster than the order of the hosts: consecutive insertions then go to
    // neighbouring places in the maps of the network.
    peers.sort_unstable_by_key(|peer| peer.id);
    let mut pins = Vec::with_capacity(contents.pins.len());
    for pin in contents.pins {
        match stored_pin(zone, &pin) {
            Ok(pin) => pins.push(pin),
            Err(misfit) => misfits.push(misfit),
        }
    }
    let serial = contents.serial.max(1);
    let (network, conflicts) =
        Network::restore(zone.rules.clone(), serial, peers, pins, clock.now());
    misfits.extend(conflicts.into_iter().map(Misfit::from));
    (network, misfits)
}

impl From<Conflict> for Misfit {
    fn from(conflict: Conflict) -> Self {
        Self {
            reason: conflict.to_string(),
            remedy: "raise n or the limit again, or release the host with `paramd release`",
        }
    }
}

const ADD_AGAIN: &str = "add it to the zone file again, or release the host with `paramd release`";

/// Resolves the names in a stored registration.
pub(super) fn stored_peer(zone: &Zone, registration: Registration) -> Result<StoredPeer, Misfit> {
    let Registration {
        host,
        sequence,
        number,
        role,
        source,
        address,
        epoch,
    } = registration;
    let id = format!("{sequence}{number}");
    let unknown = |what: &str| Misfit {
        reason: format!("{host} holds {id} and has {what}, which the zone file does not have"),
        remedy: ADD_AGAIN,
    };
    let hostname: Hostname = host
        .parse()
        .map_err(|_| unknown("a name that no host may have"))?;
    if zone.is_reserved(&hostname) {
        return Err(Misfit {
            reason: format!(
                "{host} holds {id}, and is a name of the zone's master file, a role or an ID"
            ),
            remedy: "remove that name, or release the host with `paramd release`",
        });
    }
    let sequences = &zone.rules.sequences;
    let place = sequences.iter().position(|rule| rule.name == sequence);
    let place = place.ok_or_else(|| unknown(&format!("an ID of the sequence {sequence}")))?;
    let role_place = zone.rules.role_named(&role);
    let role = role_place.ok_or_else(|| unknown(&format!("the role {role}")))?;
    let id = PeerId {
        sequence: Sequence(place as u16),
        number,
    };
    Ok(StoredPeer {
        host: hostname,
        id,
        role,
        holder: Holder { source, address },
        epoch,
    })
}

/// Resolves the names in a stored pin.
pub(super) fn stored_pin(zone: &Zone, pin: &Pin) -> Result<(Hostname, PeerId), Misfit> {
    let id = format!("{}{}", pin.sequence, pin.number);
    let known = pin.host.parse().ok().zip(zone.rules.id_named(&id));
    known.ok_or_else(|| Misfit {
        reason: format!(
            "{id} is pinned to {}, which the zone file does not have",
            pin.host
        ),
        remedy: ADD_AGAIN,
    })
}

/// Warns of stored zones without a zone file; they are kept.
/// Returns whether there are any.
pub(super) fn warn_of_unknown_zones(
    stored: impl IntoIterator<Item = String>,
    zones: &[Arc<PublishedZone>],
) -> bool {
    let mut are_any = false;
    for origin in stored {
        if !zones.iter().any(|known| known.zone.origin_text() == origin) {
            warn!("the store has registrations of {origin}, which has no zone file: they are kept");
            are_any = true;
        }
    }
    are_any
}
