//! The invariants of a network, checked over random histories.
//!
//! A history has thousands of steps: hosts register, renew, leave and are
//! released; time passes or is set back; the service restarts from what it was
//! told to make durable. Every invariant must hold after each step.

mod check;
mod play;
mod steps;

use param_daemon::network::{Network, PeerId, Role, Sequence, StoredPeer, Time};
use proptest::prelude::*;

use play::Play;
use steps::{LEASE, NO_LIMIT, holder, hostname, rules, steps};

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

    /// Without releases, hosts get the numbers in order, without gaps.
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

    /// A clone does not change with its original, so a reader or a zone transfer
    /// has a consistent state for any time.
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
    // Each at its own address.
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
    let restore =
        |records: Vec<StoredPeer>| Network::restore(rules(4, 0, true), 1, records, [], Time(1));
    let record = |host, number, role| StoredPeer {
        host: hostname(host),
        id: id(number),
        role: Role(role),
        holder: holder(host),
        epoch: 1,
    };
    let (network, conflicts) = restore(vec![record(0, 0, 0), record(1, 3, 1)]);
    assert_eq!((network.len(), conflicts), (2, vec![]));
    for (records, expected) in [
        (vec![record(0, 4, 0)], "out of the range of its sequence"),
        (vec![record(0, 1, 0), record(1, 1, 0)], "held by both"),
        (vec![record(0, 1, 0), record(0, 2, 0)], "registered twice"),
        (vec![record(0, 1, 2)], "another sequence"),
    ] {
        let (_, conflicts) = restore(records);
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert!(conflicts[0].to_string().contains(expected), "{conflicts:?}");
    }
}

/// Heartbeats do not wait for the writer: whatever the two do concurrently, a
/// lease that has been seen to have ended is not renewed.
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
            // The writer: time advances in steps of about a lease.
            for jump in 0..1_000 {
                let now = clock.fetch_add(LEASE - 1 + jump % 3, Ordering::SeqCst);
                network.expire(Time(now), usize::MAX);
                if !network.is_live(peer.id) {
                    assert!(!peer.lease.is_running(Time(now), lasting));
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
    let (mut network, _) = Network::restore(rules(NO_LIMIT, 0, true), 1, [record], [], Time(1));
    let peer = network
        .register(Time(2), &hostname(1), None, holder(1), &mut Vec::new())
        .unwrap();
    assert_eq!(peer.id.number, 0);
}
