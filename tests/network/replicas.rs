//! Replicas: they take over the writer's network as it is stored, and no lease is taken
//! while a replica may have renewed it, whatever is cut off, lost or late.

mod simulation;

use std::{sync::Arc, time::Duration};

use param_daemon::network::{
    Change, Holder, Hostname, Network, PeerId, Replicated, Role, RoleRule, Rules, Sequence,
    SequenceRule, StoredPeer, Time,
};
use proptest::prelude::*;

use self::simulation::Cluster;

const LEASE: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(6);

/// How long a writer is the writer after a sign of life to etcd.
const TERM: u64 = 3_000;

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        lease: LEASE,
        reclaim: Some(Duration::from_secs(8)),
        roots: 3,
        sequences: vec![SequenceRule {
            name: "vp".into(),
            start: 0,
            limit: 4,
        }],
        roles: vec![RoleRule {
            name: "mixed".into(),
            sequence: Sequence(0),
        }],
        default_role: Role(0),
        root_sequence: Sequence(0),
    })
}

fn hostname(host: u8) -> Hostname {
    format!("host-{host}").parse().unwrap()
}

fn client(number: u8) -> Holder {
    let address = [10, 0, 0, number + 1].into();
    Holder {
        source: address,
        address,
    }
}

/// What a store would have of a change from one state to the next.
fn stored(before: &Network, after: &Network, changes: &[Change]) -> Vec<Replicated> {
    let mut stored = Vec::new();
    for change in changes {
        if let Change::Put(_) | Change::Delete(..) = change
            && let Some(id) = change.id()
        {
            let peer = after.peer(id).map(|peer| StoredPeer {
                host: peer.host.clone(),
                id,
                role: peer.role,
                holder: peer.holder,
                epoch: peer.epoch,
            });
            stored.push(Replicated::Holder(id, peer));
            stored.push(liveness(after, id));
        }
        if let Change::Pin(host, _) | Change::Unpin(host) = change {
            stored.push(Replicated::Pin(host.clone(), after.pinned(host)));
        }
    }
    let ids = after.liveness_changes(before).into_iter();
    stored.extend(ids.map(|id| liveness(after, id)));
    let withheld = after.withheld_changes(before).into_iter();
    stored.extend(withheld.map(|id| Replicated::Withheld(id, after.withheld_with(id).cloned())));
    stored
}

fn liveness(network: &Network, id: PeerId) -> Replicated {
    if network.is_live(id) {
        Replicated::Live(id)
    } else {
        Replicated::EndedAgain(id)
    }
}

/// Everything that an answer can show.
fn shown(network: &Network) -> impl PartialEq + std::fmt::Debug {
    let peers = network.peers().map(|peer| {
        let is_live = network.is_live(peer.id);
        (
            peer.id,
            peer.host.clone(),
            peer.role,
            peer.holder,
            peer.epoch,
            is_live,
        )
    });
    let pins = network.pins().map(|(host, id)| (host.clone(), id));
    let roots = network.root_candidates();
    let withheld = network.withheld().cloned();
    (
        peers.collect::<Vec<_>>(),
        pins.collect::<Vec<_>>(),
        withheld.collect::<Vec<_>>(),
        roots,
        network.revision(),
    )
}

#[derive(Debug, Clone)]
enum Step {
    Register(u8, u8),
    Leave(u8, u8),
    Release(u8),
    Pin(u8, u32),
    Unpin(u8),
    /// All replicas know that the host was released.
    Confirm(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 0u8..4).prop_map(|(host, by)| Step::Register(host, by)),
        1 => (0u8..6, 0u8..4).prop_map(|(host, by)| Step::Leave(host, by)),
        1 => (0u8..6).prop_map(Step::Release),
        1 => (0u8..6, 0u32..4).prop_map(|(host, number)| Step::Pin(host, number)),
        1 => (0u8..6).prop_map(Step::Unpin),
        1 => (0u8..6).prop_map(Step::Confirm),
        3 => (1u64..9_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn a_follower_shows_what_the_writer_shows(steps in prop::collection::vec(step(), 1..80)) {
        let mut writer = Network::new(rules(), 1);
        let mut follower = Network::new(rules(), 1);
        let mut now = Time(1);
        for step in steps {
            let before = writer.clone();
            let mut changes = Vec::new();
            match step {
                Step::Register(host, _) if writer.is_withheld(&hostname(host)) => {}
                Step::Register(host, by) => {
                    let _ = writer.register(now, &hostname(host), None, client(by), &mut changes);
                }
                Step::Leave(host, by) => {
                    if let Ok(peer) = writer.leave(now, &hostname(host), client(by)) {
                        writer.withhold(hostname(host), peer.id);
                    }
                }
                Step::Release(host) => {
                    writer.release(&hostname(host), &mut changes);
                    if let Some(Change::Delete(host, id)) = changes.last() {
                        writer.withhold(host.clone(), *id);
                    }
                }
                Step::Unpin(host) => drop(writer.unpin(&hostname(host), &mut changes)),
                Step::Confirm(host) => writer.stop_withholding(&hostname(host)),
                Step::Pin(host, number) => {
                    let id = PeerId { sequence: Sequence(0), number };
                    let _ = writer.pin(&hostname(host), id, &mut changes);
                }
                Step::Pass(span) => {
                    now = now + Duration::from_millis(span);
                    writer.expire(now, usize::MAX);
                }
            }
            let stored = stored(&before, &writer, &changes);
            let conflicts = follower.replicate(stored, writer.revision(), now);
            prop_assert_eq!(conflicts, vec![]);
            prop_assert_eq!(shown(&follower), shown(&writer));
            // A follower that is elected withholds the same IDs.
            for (number, host) in follower.withheld_in(Sequence(0), 0..4) {
                let peer = follower.peer(PeerId { sequence: Sequence(0), number });
                prop_assert!(peer.is_none_or(|peer| peer.host == *host));
            }
            let mut elected = follower.clone();
            elected.lead(now);
            let (new, mut changes) = ("new".parse().unwrap(), Vec::new());
            if let Ok(peer) = elected.register(now, &new, None, client(9), &mut changes) {
                prop_assert_eq!(writer.withheld_with(peer.id), None);
            }
        }
    }

    /// Three replicas on one store, with clocks of different speed. Each may be cut off
    /// from the others and from the store, for any time.
    #[test]
    fn no_lease_is_taken_while_a_replica_may_have_renewed_it(
        seed in any::<u64>(),
        speeds in prop::array::uniform3(995u64..=1_005),
    ) {
        Cluster::new(seed, speeds).run(60_000);
    }
}
