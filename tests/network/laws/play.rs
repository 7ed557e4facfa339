//! Plays a history, and remembers what an observer knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use param_daemon::network::{
    Change, Holder, Hostname, LeaveRefusal, Network, PeerId, PinRefusal, Refusal, Role, Rules,
    Sequence, StoredPeer, Time,
};

use super::steps::{LEASE, RECLAIM, Step, holder, hostname, stored};

/// A history being played, with what an observer remembers.
pub struct Play {
    pub network: Network,
    pub rules: Arc<Rules>,
    /// What was made durable.
    pub disk: BTreeMap<Hostname, StoredPeer>,
    pub pins: BTreeMap<Hostname, PeerId>,
    /// The time of the clock, and the latest time that it has shown.
    pub clock: u64,
    pub latest: u64,
    /// The end of each host's lease, as granted.
    pub leases: HashMap<Hostname, u64>,
    /// The last known holder of each ID, and its epoch.
    pub holders: HashMap<PeerId, (Hostname, Holder, u64)>,
}

impl Play {
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            network: Network::new(rules.clone(), 1),
            rules,
            disk: BTreeMap::new(),
            pins: BTreeMap::new(),
            clock: 1,
            latest: 1,
            leases: HashMap::new(),
            holders: HashMap::new(),
        }
    }

    pub fn now(&mut self) -> Time {
        self.latest = self.latest.max(self.clock);
        Time(self.clock)
    }

    pub fn lease_runs(&self, host: &Hostname) -> bool {
        self.leases.get(host).is_some_and(|end| self.latest < *end)
    }

    /// Whether a live root node has another address.
    pub fn finds_root(&self, asker: Holder) -> bool {
        let mut peers = self.disk.values();
        peers.any(|peer| {
            peer.id.sequence == self.rules.root_sequence
                && peer.holder.address != asker.address
                && self.lease_runs(&peer.host)
        })
    }

    pub fn record(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(peer) => {
                    self.disk.insert(peer.host.clone(), stored(&peer));
                }
                Change::Delete(host, id) => {
                    let removed = self.disk.remove(&host);
                    assert_eq!(removed.map(|peer| peer.id), Some(id), "it was that host's");
                }
                Change::Pin(host, id) => {
                    self.pins.insert(host, id);
                }
                Change::Unpin(host) => {
                    self.pins.remove(&host);
                }
            }
        }
    }

    pub fn register(&mut self, host: &Hostname, role: Option<Role>, asker: Holder) {
        let now = self.now();
        let before = self.network.host(host).cloned();
        let running = self.lease_runs(host);
        let gone_before = self.reclaimable_numbers(role);
        let lowest = self.lowest_free(role);
        let pinned = self.pins.get(host).copied();
        let mut changes = Vec::new();
        let result = self.network.register(now, host, role, asker, &mut changes);
        self.record(changes);
        match (before, result) {
            (Some(before), Ok(after)) => {
                assert_eq!(before.id, after.id, "a known host keeps its ID");
                assert_eq!(before.role, after.role);
                if running {
                    assert_eq!(
                        before.holder, after.holder,
                        "a running lease is never taken"
                    );
                } else {
                    assert_eq!(after.holder, asker, "an ended lease is taken by who asks");
                }
                if after.holder == asker {
                    self.leases.insert(host.clone(), self.latest + LEASE);
                }
            }
            (None, Ok(after)) => {
                assert_eq!(after.holder, asker);
                let is_root = after.id.sequence == self.rules.root_sequence;
                assert!(is_root || self.finds_root(asker));
                match lowest {
                    _ if pinned.is_some() => {
                        assert_eq!(Some(after.id), pinned, "the ID that is kept for it");
                    }
                    Some(number) => assert_eq!(after.id.number, number, "the lowest free number"),
                    None => assert!(
                        gone_before.contains(&after.id.number),
                        "only a number that may be reclaimed is reclaimed"
                    ),
                }
                self.leases.insert(host.clone(), self.latest + LEASE);
            }
            (Some(before), Err(Refusal::OtherRole(registered))) => {
                assert_eq!(before.role, registered);
                assert_ne!(role, Some(registered));
            }
            (None, Err(Refusal::Pinned(id))) => {
                assert_eq!(Some(id), pinned);
                let drawn = self.rules.role(role.unwrap()).sequence;
                assert_ne!(drawn, id.sequence, "refused only in another role");
            }
            (before, Err(Refusal::NoRoot(refused))) => {
                assert!(
                    before.is_none() || !running,
                    "a running lease needs no root node"
                );
                let sequence = self.rules.role(refused).sequence;
                assert_ne!(sequence, self.rules.root_sequence);
                assert!(before.is_none_or(|before| before.role == refused));
                assert!(!self.finds_root(asker), "a root node is there");
            }
            (None, Err(Refusal::Full { .. })) => {
                assert_eq!(pinned, None, "an ID that is kept is not taken");
                assert_eq!(lowest, None, "refused only where nothing is free");
                assert!(gone_before.is_empty(), "and where nothing may be reclaimed");
            }
            (before, result) => panic!("{before:?} cannot become {result:?}"),
        }
    }

    pub fn pin(&mut self, host: &Hostname, id: PeerId) {
        let holders = |network: &Network| {
            let peers = network.peers().map(|peer| (peer.host.clone(), peer.id));
            peers.collect::<Vec<_>>()
        };
        let before = holders(&self.network);
        let own = before.iter().find(|(other, _)| other == host);
        let own = own.map(|(_, id)| *id).or(self.pins.get(host).copied());
        let holder = before.iter().find(|(_, taken)| *taken == id);
        let holder = holder.map(|(host, _)| host);
        let pinned = self.pins.iter().find(|(_, taken)| **taken == id);
        let other = holder.or(pinned.map(|(host, _)| host)).cloned();
        let mut changes = Vec::new();
        let result = self.network.pin(host, id, &mut changes);
        self.record(changes);
        assert_eq!(holders(&self.network), before, "a pin registers nobody");
        match result {
            Ok(()) => {
                assert_eq!(self.pins.get(host), Some(&id));
                assert!(own.is_none_or(|own| own == id));
                assert!(other.is_none_or(|other| other == *host));
            }
            Err(PinRefusal::HasAnother { .. }) => assert!(own.is_some_and(|own| own != id)),
            Err(PinRefusal::Taken { other: said }) => assert_eq!(Some(said), other),
            Err(PinRefusal::OutOfRange) => {
                assert!(!self.rules.sequence(id.sequence).contains(id.number));
            }
            Err(PinRefusal::NoRole) => panic!("each sequence has a role here"),
        }
    }

    pub fn sequence_of(&self, role: Option<Role>) -> Sequence {
        self.rules
            .role(role.unwrap_or(self.rules.default_role))
            .sequence
    }

    pub fn lowest_free(&self, role: Option<Role>) -> Option<u32> {
        let sequence = self.sequence_of(role);
        let rule = self.rules.sequence(sequence);
        let taken = |number: u32| {
            let id = PeerId { sequence, number };
            self.network.peer(id).is_some() || self.pins.values().any(|pinned| *pinned == id)
        };
        (rule.start..)
            .take(rule.limit as usize)
            .find(|number| !taken(*number))
    }

    /// The numbers that may be reclaimed, as the observer knows them: those of
    /// the peers whose lease ended longest ago.
    pub fn reclaimable_numbers(&self, role: Option<Role>) -> Vec<u32> {
        let sequence = self.sequence_of(role);
        let gone: Vec<(u64, u32)> = self
            .network
            .peers()
            .filter(|peer| peer.id.sequence == sequence)
            .filter(|peer| !self.pins.contains_key(&peer.host))
            .map(|peer| (self.leases[&peer.host], peer.id.number))
            .filter(|(end, _)| self.rules.reclaim.is_some() && self.latest >= end + RECLAIM)
            .collect();
        let longest = gone.iter().map(|(end, _)| *end).min();
        gone.into_iter()
            .filter(|(end, _)| Some(*end) == longest)
            .map(|(_, number)| number)
            .collect()
    }

    pub fn play(&mut self, step: Step) {
        match step {
            Step::Register { host, role, asker } => {
                self.register(&hostname(host), role.map(Role), holder(asker));
            }
            Step::Heartbeat { host } => {
                let host = hostname(host);
                let now = self.now();
                let runs = self.lease_runs(&host);
                if let Some(peer) = self.network.host(&host) {
                    let now = Time(now.0.max(self.latest));
                    let renewed = peer.lease.renew(now, self.rules.lease);
                    assert!(!renewed || runs, "only a lease that runs is renewed");
                    if renewed {
                        self.leases.insert(host, self.latest + LEASE);
                    } else if runs {
                        // After a standstill of the service, the registry
                        // decides.
                        let (role, asker) = (peer.role, peer.holder);
                        self.register(&host, Some(role), asker);
                    }
                }
            }
            Step::Leave { host, asker } => {
                let host = hostname(host);
                let now = self.now();
                let before = self.network.host(&host).cloned();
                match (before, self.network.leave(now, &host, holder(asker))) {
                    (None, Err(LeaveRefusal::Unknown)) => {}
                    (Some(peer), Err(LeaveRefusal::NotTheHolder)) => {
                        assert_ne!(peer.holder, holder(asker));
                    }
                    (Some(peer), Ok(left)) => {
                        assert_eq!(peer.id, left.id);
                        assert_eq!(peer.holder, holder(asker), "only the holder leaves");
                        let end = self.leases.get_mut(&host).unwrap();
                        *end = (*end).min(self.latest);
                    }
                    (before, result) => panic!("{before:?} cannot become {result:?}"),
                }
            }
            Step::Release { host } => {
                let host = hostname(host);
                let mut changes = Vec::new();
                let known = self.network.host(&host).is_some() || self.pins.contains_key(&host);
                assert_eq!(self.network.release(&host, &mut changes), known);
                self.record(changes);
                assert!(self.network.host(&host).is_none());
                assert!(self.network.pinned(&host).is_none());
            }
            Step::Pin {
                host,
                sequence,
                number,
            } => self.pin(
                &hostname(host),
                PeerId {
                    sequence: Sequence(sequence),
                    number,
                },
            ),
            Step::Unpin { host } => {
                let host = hostname(host);
                let before = self.network.host(&host).map(|peer| peer.id);
                let mut changes = Vec::new();
                let was = self.network.unpin(&host, &mut changes);
                assert_eq!(was, self.pins.contains_key(&host));
                self.record(changes);
                assert_eq!(self.network.host(&host).map(|peer| peer.id), before);
            }
            Step::Pass { milliseconds } => self.clock += milliseconds,
            Step::SetBack { milliseconds } => {
                self.clock = self.clock.saturating_sub(milliseconds).max(1);
            }
            Step::Restart => {
                let now = self.now();
                self.latest = now.0;
                let records = self.disk.values().cloned();
                let revision = self.network.revision() + 1;
                let pins = self.pins.clone();
                let (network, conflicts) =
                    Network::restore(self.rules.clone(), revision, records, pins, now);
                assert_eq!(conflicts, []);
                self.network = network;
                let lease = now.0 + LEASE;
                self.leases = self.disk.keys().map(|host| (host.clone(), lease)).collect();
            }
            Step::StandStill { milliseconds } => {
                let running: Vec<_> = self
                    .disk
                    .keys()
                    .filter(|it| self.lease_runs(it))
                    .cloned()
                    .collect();
                self.clock += milliseconds;
                let now = self.now();
                self.network.resume(now);
                for host in running {
                    let end = self.leases.entry(host).or_default();
                    *end = (now.0 + LEASE).max(*end);
                }
            }
        }
    }
}
