//! What the writer makes durable: registrations, pins and serials, with one flush.
//!
//! In come the networks as they were decided and what changed; out goes one commit of
//! the store, which succeeds or fails as a whole. Nothing is decided here, and
//! nothing is published.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::{error, info};

use super::{
    Action, Published,
    request::Command,
    stored::{pin, registration},
};
use crate::{
    network::{Change, Hostname, Network, Peer, PeerId},
    store::{Store, StoreError, Write},
};

/// How many serials are reserved on disk ahead of use. The serial also rises
/// when a lease ends, which writes nothing; after a restart it goes on from the
/// end of the reserved ones.
const SERIALS: u64 = 1 << 16;

/// The store, and what is known of its state.
pub(super) struct Committer {
    zones: Vec<Arc<Published>>,
    /// By zone: the origin as the store has it.
    origins: Vec<Arc<str>>,
    store: Box<dyn Store>,
    /// By zone: the first serial that may not be published yet.
    reserved: Vec<u64>,
    /// By zone: the last commit that changed a registration or a pin.
    changed: Vec<u64>,
    /// The last commit of the store.
    committed: u64,
    /// Hosts of which a failed commit may have written something, and the IDs
    /// that it was about. What the network says of them goes into the next
    /// commit.
    unsettled: BTreeMap<(usize, Hostname), BTreeSet<PeerId>>,
    /// Whether the last commit failed, so that the log says it once.
    failing: bool,
}

impl Committer {
    pub fn new(zones: Vec<Arc<Published>>, store: Box<dyn Store>) -> Self {
        let origins = zones.iter().map(|it| it.zone.origin_text().into());
        let commits = zones.iter().map(|it| it.commit());
        Self {
            origins: origins.collect(),
            reserved: zones.iter().map(|it| it.reserved()).collect(),
            changed: zones.iter().map(|it| it.changed()).collect(),
            committed: commits.max().unwrap_or(0),
            zones,
            store,
            unsettled: BTreeMap::new(),
            failing: false,
        }
    }

    /// Publishes the networks of all zones with the state of the store.
    pub fn publish(&self, networks: Vec<Network>) {
        for (place, network) in networks.into_iter().enumerate() {
            let (changed, reserved) = (self.changed[place], self.reserved[place]);
            self.zones[place].publish(network, self.committed, changed, reserved);
        }
    }

    /// Whether the store may hold something else about the host than the network
    /// does. A host that was answered nevertheless could be given another ID after a
    /// restart.
    pub fn is_unsettled(&self, command: &Command) -> bool {
        match &command.action {
            Action::Register { host, .. } | Action::Leave { host, .. } => {
                !self.unsettled.is_empty()
                    && self.unsettled.contains_key(&(command.zone, host.clone()))
            }
            // Whatever hosts it concerns.
            Action::Update(_) => !self.unsettled.is_empty(),
        }
    }

    /// Whether it is time to reserve more serials.
    pub fn wants_serials(&self, networks: &[Network]) -> bool {
        let mut pairs = networks.iter().zip(&self.reserved);
        pairs.any(|(network, reserved)| network.revision() + SERIALS / 2 > *reserved)
    }

    /// Makes the changes durable; says whether they are.
    pub fn commit(&mut self, networks: &[Network], changes: &[(usize, Change)]) -> bool {
        if !self.unsettled.is_empty() && !self.settle() {
            return false;
        }
        let mut writes: Vec<Write> = changes
            .iter()
            .map(|(place, change)| match change {
                Change::Put(peer) => self.put(*place, peer),
                Change::Delete(host, id) => self.delete(*place, host, *id),
                Change::Pin(host, id) => self.pin(*place, host, *id),
                Change::Unpin(host) => self.unpin(*place, host),
            })
            .collect();
        let mut reserved = self.reserved.clone();
        for (place, network) in networks.iter().enumerate() {
            if network.revision() + SERIALS / 2 > reserved[place] {
                reserved[place] = network.revision() + SERIALS;
                writes.push(Write::Serial {
                    origin: self.origins[place].clone(),
                    serial: reserved[place],
                });
            }
        }
        let written = self.write(&writes);
        if written {
            self.reserved = reserved;
            for (place, _) in changes {
                self.changed[*place] = self.committed;
            }
        } else {
            for (place, change) in changes {
                let host = change.host().clone();
                let ids = self.unsettled.entry((*place, host)).or_default();
                ids.extend(change.id());
            }
        }
        written
    }

    /// Writes what the network says of the hosts that a failed commit may have
    /// written otherwise. First of all, so that there are never more of them
    /// than one commit had.
    fn settle(&mut self) -> bool {
        let mut writes = Vec::new();
        for ((place, host), ids) in &self.unsettled {
            let network = self.zones[*place].network();
            let peer = network.host(host);
            let others = ids.iter().filter(|id| peer.is_none_or(|it| it.id != **id));
            writes.extend(others.map(|id| self.delete(*place, host, *id)));
            writes.extend(peer.map(|peer| self.put(*place, peer)));
            writes.push(match network.pinned(host) {
                Some(id) => self.pin(*place, host, id),
                None => self.unpin(*place, host),
            });
        }
        let settled = self.write(&writes);
        if settled {
            self.unsettled.clear();
        }
        settled
    }

    fn write(&mut self, writes: &[Write]) -> bool {
        match self.store.commit(writes) {
            Ok(number) => {
                self.committed = number;
                if self.failing {
                    info!("the store can write again");
                }
                self.failing = false;
                true
            }
            // The process ends for this reason, and reports it.
            Err(StoreError::LeadershipLost { .. }) => false,
            Err(error) => {
                if !self.failing {
                    error!("{error}; until it can, only known peers are answered");
                }
                self.failing = true;
                false
            }
        }
    }

    fn put(&self, place: usize, peer: &Peer) -> Write {
        Write::Put {
            origin: self.origins[place].clone(),
            registration: registration(&self.zones[place].zone, peer),
        }
    }

    fn delete(&self, place: usize, host: &Hostname, id: PeerId) -> Write {
        let rules = &self.zones[place].zone.rules;
        Write::Delete {
            origin: self.origins[place].clone(),
            host: host.to_string(),
            sequence: rules.sequence(id.sequence).name.clone(),
            number: id.number,
        }
    }

    fn pin(&self, place: usize, host: &Hostname, id: PeerId) -> Write {
        Write::Pin {
            origin: self.origins[place].clone(),
            pin: pin(&self.zones[place].zone, host, id),
        }
    }

    fn unpin(&self, place: usize, host: &Hostname) -> Write {
        Write::Unpin {
            origin: self.origins[place].clone(),
            host: host.to_string(),
        }
    }
}
