//! Makes registrations, pins and serials durable, with one flush; in a store that
//! replicas share, also which leases have ended.
//!
//! The input is the decided networks and their changes; the output is one commit to
//! the store, which succeeds or fails as a whole. This module neither decides nor
//! publishes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tracing::{error, info};

use super::{
    Action, PublishedZone,
    request::Command,
    shared::{EndedLeases, Place},
    stored::{pin, registration},
};
use crate::{
    network::{Change, Hostname, Network, PeerId, Time},
    store::{
        Store, StoreError, Write,
        replication::{BlockLeases, BlockPlace, Ended},
    },
};

/// The number of serials that are reserved on disk ahead of use. The serial also rises
/// when a lease ends, which writes nothing; after a restart it continues from the end
/// of the reserved serials.
const RESERVED_SERIALS: u64 = 1 << 16;

/// How often a store that could not write is tried again, if nothing else is to be
/// stored.
const PROBE: Duration = Duration::from_secs(5);

/// The store, and its known state.
pub(super) struct Committer {
    zones: Vec<Arc<PublishedZone>>,
    /// By zone: the origin as it is stored.
    origins: Vec<Arc<str>>,
    store: Box<dyn Store>,
    /// By zone: the first serial that must not be published yet.
    reserved: Vec<u64>,
    /// By zone: the last commit that changed a registration or a pin.
    changed: Vec<u64>,
    /// The last commit of the store.
    pub committed: u64,
    /// Hosts with an uncertain state in the store, since a failed commit may have
    /// written a part of it, and the IDs that the commit contained. The next commit
    /// writes the state of the network for them.
    uncertain: BTreeMap<(usize, Hostname), BTreeSet<PeerId>>,
    /// Which leases have ended, as a shared store has it; `None` for any other store.
    pub ended: Option<EndedLeases>,
    /// Whether the last commit failed, so that the log reports a failure once.
    is_failing: bool,
    /// When a store that could not write is tried again.
    next_probe: Time,
    /// Whether a commit failed since another replica is, or may be, the writer.
    pub is_deposed: bool,
    /// By zone: the revision of a failed commit to a shared store. Replicas may have
    /// received it, so it is not used again.
    failed: Vec<u64>,
}

impl Committer {
    /// `ended` is what is known of the ended leases in a store that replicas share; `None`
    /// for any other store.
    pub fn new(
        zones: Vec<Arc<PublishedZone>>,
        store: Box<dyn Store>,
        ended: Option<EndedLeases>,
    ) -> Self {
        let origins = zones.iter().map(|it| it.zone.origin_text().into());
        let commits = zones.iter().map(|it| it.commit());
        Self {
            origins: origins.collect(),
            reserved: zones.iter().map(|it| it.reserved()).collect(),
            changed: zones.iter().map(|it| it.changed()).collect(),
            committed: commits.max().unwrap_or(0),
            failed: vec![0; zones.len()],
            zones,
            store,
            uncertain: BTreeMap::new(),
            ended,
            is_failing: false,
            next_probe: Time::default(),
            is_deposed: false,
        }
    }

    /// Makes the next revisions of the networks higher than those of failed commits.
    pub fn skip_failed(&self, networks: &mut [Network]) {
        for (network, failed) in networks.iter_mut().zip(&self.failed) {
            network.skip_revisions(*failed);
        }
    }

    /// Whether replicas share the store.
    pub fn is_shared(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether the last commit failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Stores something that changes nothing, to find whether a store that could not write
    /// can again. A shared store is tried again by other means.
    pub fn probe_if_due(&mut self, now: Time) {
        if !self.is_failing || self.is_shared() || now < self.next_probe {
            return;
        }
        self.next_probe = now + PROBE;
        let serials = self.origins.iter().zip(&self.reserved);
        let write = |(origin, serial): (&Arc<str>, &u64)| Write::Serial {
            origin: origin.clone(),
            serial: *serial,
        };
        let first: Vec<Write> = serials.map(write).take(1).collect();
        self.write(&first, &[]);
    }

    /// Publishes the networks of all zones with the state of the store.
    pub fn publish(&self, networks: Vec<Network>) {
        for (place, network) in networks.into_iter().enumerate() {
            let (changed, reserved) = (self.changed[place], self.reserved[place]);
            self.zones[place].publish(network, self.committed, changed, reserved);
        }
    }

    /// Whether the state of the host in the store is uncertain. If such a host were
    /// answered, it could get another ID after a restart.
    pub fn is_uncertain(&self, command: &Command) -> bool {
        match &command.action {
            Action::Register { host, .. } | Action::Leave { host, .. } => {
                !self.uncertain.is_empty()
                    && self.uncertain.contains_key(&(command.zone, host.clone()))
            }
            // An update may change any host.
            Action::Update(_) => !self.uncertain.is_empty(),
        }
    }

    /// Whether the networks must not be published before a commit: it is time to reserve
    /// more serials, or replicas must learn of whatever has changed.
    pub fn needs_serials(&self, networks: &[Network]) -> bool {
        let mut pairs = networks.iter().zip(&self.reserved);
        pairs.any(|(network, reserved)| self.serial_to_reserve(network, *reserved).is_some())
            || self.is_shared() && self.withholds_others(networks)
    }

    fn withholds_others(&self, networks: &[Network]) -> bool {
        let mut pairs = networks.iter().zip(&self.zones);
        pairs.any(|(network, zone)| !network.withheld_changes(&zone.network()).is_empty())
    }

    /// The serial below which all may be published, if it must be stored.
    fn serial_to_reserve(&self, network: &Network, reserved: u64) -> Option<u64> {
        let revision = network.revision();
        if self.ended.is_some() {
            (revision + 1 != reserved).then_some(revision + 1)
        } else {
            (revision + RESERVED_SERIALS / 2 > reserved).then_some(revision + RESERVED_SERIALS)
        }
    }

    /// Whether a change of a network without any [`Change`] must be stored, too.
    pub fn must_store(&self, networks: &[Network]) -> bool {
        self.ended.is_some() && self.needs_serials(networks)
    }

    /// Makes the changes durable, and returns whether it succeeded.
    pub fn commit(&mut self, networks: &[Network], changes: &[(usize, Change)]) -> bool {
        if !self.uncertain.is_empty() && !self.rewrite_uncertain() {
            return false;
        }
        let mut writes: Vec<Write> = changes
            .iter()
            .map(|(place, change)| self.write_of(*place, change))
            .collect();
        let mut reserved = self.reserved.clone();
        for (place, network) in networks.iter().enumerate() {
            if let Some(serial) = self.serial_to_reserve(network, reserved[place]) {
                reserved[place] = serial;
                writes.push(Write::Serial {
                    origin: self.origins[place].clone(),
                    serial,
                });
            }
        }
        let ended = self.ended.as_ref().map(|ended| {
            let before = self.zones.iter().map(|published| published.network());
            ended.differences(&before.collect::<Vec<_>>(), networks, changes)
        });
        let ended = ended.unwrap_or_default();
        let written = self.write(&writes, &self.ended_writes(&ended));
        if let Some(known) = &mut self.ended {
            known.note(ended, written);
        }
        if written {
            self.reserved = reserved;
            for (place, _) in changes {
                self.changed[*place] = self.committed;
            }
        } else {
            if self.ended.is_some() {
                // Unknown, so that the next commit stores them again.
                self.reserved.fill(0);
                for (failed, network) in self.failed.iter_mut().zip(networks) {
                    *failed = network.revision().max(*failed);
                }
            }
            for (place, change) in changes {
                let host = change.host().clone();
                let ids = self.uncertain.entry((*place, host)).or_default();
                ids.extend(change.id());
            }
        }
        written
    }

    /// Writes the state of the network for the hosts whose state in the store is
    /// uncertain. This precedes any other write, so that there are never more of them
    /// than one commit contained.
    fn rewrite_uncertain(&mut self) -> bool {
        let mut writes = Vec::new();
        for ((place, host), ids) in &self.uncertain {
            let network = self.zones[*place].network();
            let peer = network.host(host);
            let others = ids.iter().filter(|id| peer.is_none_or(|it| it.id != **id));
            let deletes = others.map(|id| Change::Delete(host.clone(), *id));
            let put = peer.map(|peer| Change::Put(peer.clone()));
            let pin = match network.pinned(host) {
                Some(id) => Change::Pin(host.clone(), id),
                None => Change::Unpin(host.clone()),
            };
            let changes = deletes.chain(put).chain([pin]);
            writes.extend(changes.map(|change| self.write_of(*place, &change)));
        }
        let written = self.write(&writes, &[]);
        if written {
            self.uncertain.clear();
        }
        written
    }

    fn ended_writes(&self, blocks: &[(Place, BlockLeases)]) -> Vec<Ended> {
        let writes = blocks.iter().map(|((place, sequence, index), leases)| {
            let rules = &self.zones[*place].zone.rules;
            Ended {
                origin: self.origins[*place].clone(),
                place: BlockPlace {
                    sequence: rules.sequence(*sequence).name.clone(),
                    index: *index,
                },
                leases: leases.clone(),
            }
        });
        writes.collect()
    }

    fn write(&mut self, writes: &[Write], ended: &[Ended]) -> bool {
        match self.store.commit_with_leases(writes, ended) {
            Ok(number) => {
                self.committed = number;
                if self.is_failing {
                    info!("the store can write again");
                }
                self.is_failing = false;
                true
            }
            // The replica reports it, and follows another writer.
            Err(StoreError::LeadershipLost { .. }) => {
                self.is_deposed = true;
                false
            }
            Err(error) => {
                if !self.is_failing {
                    let limit = if self.store.is_shared() {
                        ", and without contact with etcd only for as long as `hold` says"
                    } else {
                        ""
                    };
                    error!(
                        "{error}; until the store can write, only known peers are answered{limit}"
                    );
                }
                self.is_failing = true;
                false
            }
        }
    }

    /// The write to the store that makes a change durable.
    fn write_of(&self, place: usize, change: &Change) -> Write {
        let (origin, zone) = (self.origins[place].clone(), &self.zones[place].zone);
        match change {
            Change::Put(peer) => Write::Put {
                origin,
                registration: registration(zone, peer),
            },
            Change::Delete(host, id) => Write::Delete {
                origin,
                host: host.to_string(),
                sequence: zone.rules.sequence(id.sequence).name.clone(),
                number: id.number,
            },
            Change::Pin(host, id) => Write::Pin {
                origin,
                pin: pin(zone, host, *id),
            },
            Change::Unpin(host) => Write::Unpin {
                origin,
                host: host.to_string(),
            },
        }
    }
}
