//! The laws of a network, checked over random histories.
//!
//! A history is thousands of steps: hosts register, renew, leave, are released;
//! time passes or is set back; the service restarts from what it was told to
//! make durable. After each step every law must hold.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use param_daemon::network::{
    Change, Holder, Hostname, LeaveRefusal, Network, Peer, PeerId, PeerSummary, PinRefusal,
    Refusal, Role, RoleRule, Rules, Sequence, SequenceRule, StoredPeer, Time,
};
use proptest::prelude::*;

const LEASE: u64 = 30_000;
const RECLAIM: u64 = 300_000;

/// More numbers than are ever asked for.
const NO_LIMIT: u32 = u32::MAX;

fn rules(limit: u32, start: u32, reclaim: bool) -> Arc<Rules> {
    let sequence = |name: &str, start, limit| SequenceRule {
        name: name.into(),
        start,
        limit,
    };
    let role = |name: &str, sequence| RoleRule {
        name: name.into(),
        sequence: Sequence(sequence),
    };
    Arc::new(Rules {
        lease: Duration::from_millis(LEASE),
        reclaim: reclaim.then(|| Duration::from_millis(RECLAIM)),
        roots: 3,
        sequences: vec![sequence("vp", start, limit), sequence("nvp", 0, NO_LIMIT)],
        roles: vec![role("mixed", 0), role("validator", 0), role("rest", 1)],
        default_role: Role(0),
        root_sequence: Sequence(0),
    })
}

#[derive(Debug, Clone)]
enum Step {
    Register {
        host: u8,
        role: Option<u16>,
        asker: u8,
    },
    /// The heartbeat of whoever holds the host now, by the way without a lock.
    Heartbeat {
        host: u8,
    },
    Leave {
        host: u8,
        asker: u8,
    },
    Release {
        host: u8,
    },
    Pin {
        host: u8,
        sequence: u16,
        number: u32,
    },
    Unpin {
        host: u8,
    },
    Pass {
        milliseconds: u64,
    },
    SetBack {
        milliseconds: u64,
    },
    Restart,
    /// The service stands still, and then goes on.
    StandStill {
        milliseconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..12, prop::option::weighted(0.3, 0u16..3), 0u8..24)
            .prop_map(|(host, role, asker)| Step::Register { host, role, asker }),
        6 => (0u8..12).prop_map(|host| Step::Heartbeat { host }),
        2 => (0u8..12, 0u8..24).prop_map(|(host, asker)| Step::Leave { host, asker }),
        1 => (0u8..12).prop_map(|host| Step::Release { host }),
        1 => (0u8..12, 0u16..2, 0u32..8)
            .prop_map(|(host, sequence, number)| Step::Pin { host, sequence, number }),
        1 => (0u8..12).prop_map(|host| Step::Unpin { host }),
        6 => prop_oneof![0u64..100, 1_000u64..15_000, LEASE..2 * RECLAIM]
            .prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => (0u64..RECLAIM).prop_map(|milliseconds| Step::SetBack { milliseconds }),
        1 => Just(Step::Restart),
        1 => (0u64..2 * RECLAIM).prop_map(|milliseconds| Step::StandStill { milliseconds }),
    ];
    prop::collection::vec(step, 1..2_000)
}

/// Asker `2 k` and `2 k + 1` share an address, which is one of IPv6 for each third;
/// `k` and `k + 12` share a source.
fn holder(asker: u8) -> Holder {
    let ip = |network, host| Ipv4Addr::new(10, network, 0, host);
    let address = ip(2, asker / 2);
    Holder {
        source: ip(1, asker % 12).into(),
        address: match asker / 2 % 3 {
            0 => address.to_ipv6_mapped().into(),
            _ => address.into(),
        },
    }
}

fn stored(peer: &Peer) -> StoredPeer {
    StoredPeer {
        host: peer.host.clone(),
        id: peer.id,
        role: peer.role,
        holder: peer.holder,
        epoch: peer.epoch,
    }
}

fn hostname(host: u8) -> Hostname {
    format!("peer-{host}").parse().unwrap()
}

/// A history being played, with what an outsider remembers of it.
struct Play {
    network: Network,
    rules: Arc<Rules>,
    /// What was made durable.
    disk: BTreeMap<Hostname, StoredPeer>,
    pins: BTreeMap<Hostname, PeerId>,
    /// What the clock shows, and the latest it ever showed.
    clock: u64,
    latest: u64,
    /// Until when each host's lease runs, by what was granted.
    leases: HashMap<Hostname, u64>,
    /// Who was seen to hold each ID last, and with which epoch.
    holders: HashMap<PeerId, (Hostname, Holder, u64)>,
}

impl Play {
    fn new(rules: Arc<Rules>) -> Self {
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

    fn now(&mut self) -> Time {
        self.latest = self.latest.max(self.clock);
        Time(self.clock)
    }

    fn lease_runs(&self, host: &Hostname) -> bool {
        self.leases.get(host).is_some_and(|end| self.latest < *end)
    }

    /// Whether a root node runs at another address.
    fn finds_root(&self, asker: Holder) -> bool {
        let mut peers = self.disk.values();
        peers.any(|peer| {
            peer.id.sequence == self.rules.root_sequence
                && peer.holder.address != asker.address
                && self.lease_runs(&peer.host)
        })
    }

    fn record(&mut self, changes: Vec<Change>) {
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

    fn register(&mut self, host: &Hostname, role: Option<Role>, asker: Holder) {
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

    fn pin(&mut self, host: &Hostname, id: PeerId) {
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

    fn sequence_of(&self, role: Option<Role>) -> Sequence {
        self.rules
            .role(role.unwrap_or(self.rules.default_role))
            .sequence
    }

    fn lowest_free(&self, role: Option<Role>) -> Option<u32> {
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

    /// The numbers whose lease ran out at least `reclaim` ago, by the outsider's
    /// memory. Only those that ran out longest ago may go.
    fn reclaimable_numbers(&self, role: Option<Role>) -> Vec<u32> {
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

    fn play(&mut self, step: Step) {
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
                        // After the service has stood still, the registry decides.
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
                self.network =
                    Network::restore(self.rules.clone(), revision, records, pins, now).unwrap();
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

    fn check(&mut self) {
        let now = self.now();
        self.network.expire(now, usize::MAX);
        let network = &self.network;
        let mut by_id: HashMap<PeerId, &Hostname> = HashMap::new();
        for peer in network.peers() {
            if let Some(other) = by_id.insert(peer.id, &peer.host) {
                panic!("{:?} is held by {other} and {}", peer.id, peer.host);
            }
            assert!(
                self.rules
                    .sequence(peer.id.sequence)
                    .contains(peer.id.number)
            );
            let by_host = network.host(&peer.host).expect("found by its host too");
            assert!(Arc::ptr_eq(by_host, peer), "the same by host and by ID");
            let told = network.slot_of(peer.id).and_then(|seat| seat.summary());
            assert_eq!(
                told,
                Some(PeerSummary::from(&**peer)),
                "the same is told by ID"
            );
            assert_eq!(
                network.is_live(peer.id),
                self.lease_runs(&peer.host),
                "{} is live exactly while its lease runs",
                peer.host
            );
            self.check_roots(peer);
        }
        assert_eq!(by_id.len(), network.len());
        for (sequence, number) in (0..2).flat_map(|it| (0..40).map(move |number| (it, number))) {
            let id = PeerId {
                sequence: Sequence(sequence),
                number,
            };
            let told = network.slot_of(id).and_then(|seat| seat.summary());
            assert_eq!(told.is_some(), by_id.contains_key(&id), "{id:?}");
        }
        assert_eq!(network.live().count(), network.live_len());
        let registered: BTreeMap<_, _> = network
            .peers()
            .map(|peer| (peer.host.clone(), stored(peer)))
            .collect();
        assert_eq!(registered, self.disk, "the disk has what was answered");
        let peers: Vec<_> = network.peers().cloned().collect();
        for peer in peers {
            self.check_epoch(&peer);
        }
        let network = &self.network;
        let pins: BTreeMap<_, _> = network
            .pins()
            .map(|(host, id)| (host.clone(), id))
            .collect();
        assert_eq!(pins, self.pins);
        for (host, id) in pins {
            let own = network.host(&host).map(|peer| peer.id);
            assert!(
                own.is_none_or(|own| own == id),
                "who has a pin has no other ID"
            );
            let holder = network.peer(id).map(|peer| &peer.host);
            assert!(
                holder.is_none_or(|holder| *holder == host),
                "a pin is nobody else's"
            );
        }
    }

    fn check_roots(&self, peer: &Peer) {
        let roots: Vec<PeerId> = self.network.roots(peer).map(|root| root.id).collect();
        let candidates: Vec<&Arc<Peer>> = self
            .network
            .peers()
            .filter(|root| root.id.sequence == self.rules.root_sequence)
            .filter(|root| root.holder.address != peer.holder.address)
            .filter(|root| self.lease_runs(&root.host))
            .collect();
        let heard_last = |root: &&Arc<Peer>| {
            let address = root.holder.address;
            let there = candidates.iter().filter(|it| it.holder.address == address);
            let last = there.max_by_key(|it| (it.lease.heard(), it.id.number));
            last.is_some_and(|last| last.id == root.id)
        };
        let expected = candidates.iter().copied().filter(heard_last);
        let expected: Vec<PeerId> = expected.map(|it| it.id).take(self.rules.roots).collect();
        assert_eq!(
            roots, expected,
            "root nodes: live, at another address than the asker, none twice, lowest first"
        );
    }

    /// An epoch rises with each new holder of an ID, and never falls.
    fn check_epoch(&mut self, peer: &Peer) {
        let holder = (peer.host.clone(), peer.holder, peer.epoch);
        let Some((host, before, epoch)) = self.holders.insert(peer.id, holder) else {
            return;
        };
        if (&host, before) == (&peer.host, peer.holder) {
            assert!(peer.epoch >= epoch, "the epoch has fallen");
        } else {
            assert!(peer.epoch > epoch, "another holder, and no higher epoch");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_after_every_step(
        steps in steps(),
        limit in prop_oneof![1u32..8, Just(NO_LIMIT)],
        start in prop_oneof![Just(0u32), 1u32..5],
        reclaim: bool,
    ) {
        let mut play = Play::new(rules(limit, start, reclaim));
        let mut revision = play.network.revision();
        for step in steps {
            play.play(step);
            play.check();
            prop_assert!(play.network.revision() >= revision, "the revision never falls");
            revision = play.network.revision();
        }
    }

    /// Without releases, whoever comes gets the numbers in order, without a gap.
    #[test]
    fn numbers_are_dense_from_the_start(hosts in 1u32..300, start in 0u32..10) {
        let mut play = Play::new(rules(NO_LIMIT, start, true));
        for number in 0..hosts {
            let host = format!("host-{number}").parse().unwrap();
            play.register(&host, None, holder((number % 24) as u8));
            let peer = play.network.host(&host).unwrap();
            prop_assert_eq!(peer.id.number, start + number);
        }
    }

    /// A clone is not touched by what is done to its original: a reader, or a
    /// zone transfer, keeps a consistent state for as long as it likes.
    #[test]
    fn a_clone_keeps_its_peers(steps in steps(), later in steps()) {
        let mut play = Play::new(rules(5, 0, true));
        for step in steps {
            play.play(step);
            play.check();
        }
        let kept = play.network.clone();
        let show = |network: &Network| {
            let live = network.live().map(|peer| peer.id).collect::<Vec<_>>();
            let peers = network.peers().map(|peer| (peer.id, peer.holder)).collect::<Vec<_>>();
            (live, peers, network.revision())
        };
        let before = show(&kept);
        for step in later {
            play.play(step);
            play.check();
        }
        prop_assert_eq!(before, show(&kept));
    }
}

#[test]
fn the_first_of_a_batch_has_no_root_node_and_the_others_have() {
    let mut network = Network::new(rules(4, 0, true), 1);
    let mut changes = Vec::new();
    // Each at an address of its own.
    let roots: Vec<usize> = (0..8)
        .step_by(2)
        .map(|host| {
            let peer = network
                .register(Time(5), &hostname(host), None, holder(host), &mut changes)
                .unwrap();
            network.roots(&peer).count()
        })
        .collect();
    assert_eq!(roots, [0, 1, 2, 3]);
}

#[test]
fn contradicting_records_are_refused() {
    let id = |number| PeerId {
        sequence: Sequence(0),
        number,
    };
    let restore = |records: Vec<StoredPeer>| {
        Network::restore(rules(4, 0, true), 1, records, [], Time(1)).map(|network| network.len())
    };
    let record = |host, number, role| StoredPeer {
        host: hostname(host),
        id: id(number),
        role: Role(role),
        holder: holder(host),
        epoch: 1,
    };
    assert_eq!(restore(vec![record(0, 0, 0), record(1, 3, 1)]), Ok(2));
    for (records, expected) in [
        (vec![record(0, 4, 0)], "out of the range of its sequence"),
        (vec![record(0, 1, 0), record(1, 1, 0)], "held by both"),
        (vec![record(0, 1, 0), record(0, 2, 0)], "registered twice"),
        (vec![record(0, 1, 2)], "another sequence"),
    ] {
        let error = restore(records).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Heartbeats do not wait for the writer: whatever the two do at once, a lease
/// that has been seen to be ended is renewed by nobody.
#[test]
fn a_heartbeat_never_revives_a_lease_that_has_ended() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let rules = rules(1, 0, true);
    let lasting = rules.lease;
    for round in 0..200 {
        let mut network = Network::new(rules.clone(), 1);
        let mut changes = Vec::new();
        let host = hostname(0);
        let peer = network
            .register(Time(1), &host, None, holder(0), &mut changes)
            .unwrap();
        let clock = AtomicU64::new(1);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let was_ended = ended.load(Ordering::SeqCst);
                    let now = Time(clock.load(Ordering::SeqCst));
                    let renewed = peer.lease.renew(now, lasting);
                    assert!(!(renewed && was_ended), "round {round}");
                }
                for _ in 0..100 {
                    let now = Time(clock.load(Ordering::SeqCst));
                    assert!(!peer.lease.renew(now, lasting), "round {round}");
                }
            });
            // The writer: time passes in jumps of about a lease.
            for jump in 0..1_000 {
                let now = clock.fetch_add(LEASE - 1 + jump % 3, Ordering::SeqCst);
                network.expire(Time(now), usize::MAX);
                if !network.is_live(peer.id) {
                    assert!(!peer.lease.runs(Time(now), lasting));
                    break;
                }
            }
            if network.is_live(peer.id) {
                network.leave(Time(0), &host, holder(0)).unwrap();
            }
            ended.store(true, Ordering::SeqCst);
        });
        assert!(!network.is_live(peer.id));
    }
}

#[test]
fn a_high_number_takes_no_more_memory_than_a_low_one() {
    let id = PeerId {
        sequence: Sequence(0),
        number: u32::MAX - 2,
    };
    let record = StoredPeer {
        host: hostname(0),
        id,
        role: Role(0),
        holder: holder(0),
        epoch: 1,
    };
    let mut network = Network::restore(rules(NO_LIMIT, 0, true), 1, [record], [], Time(1)).unwrap();
    let peer = network
        .register(Time(2), &hostname(1), None, holder(1), &mut Vec::new())
        .unwrap();
    assert_eq!(peer.id.number, 0);
}
