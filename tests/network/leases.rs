//! The leases of very many peers: they are checked in parts, and yet each host's
//! own lease is exact.

use std::{sync::Arc, time::Duration};

use param_daemon::network::{
    Holder, Hostname, Network, PeerId, Role, RoleRule, Rules, Sequence, SequenceRule, StoredPeer,
    Time,
};
use proptest::prelude::*;

const LEASE: u64 = 1_000;

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        lease: Duration::from_millis(LEASE),
        reclaim: None,
        roots: 3,
        sequences: vec![SequenceRule {
            name: "vp".into(),
            start: 0,
            limit: 1 << 20,
        }],
        roles: vec![RoleRule {
            name: "mixed".into(),
            sequence: Sequence(0),
        }],
        default_role: Role(0),
        root_sequence: Sequence(0),
    })
}

fn hostname(number: u32) -> Hostname {
    format!("host-{number}").parse().unwrap()
}

fn id(number: u32) -> PeerId {
    PeerId {
        sequence: Sequence(0),
        number,
    }
}

fn holder(number: u32) -> Holder {
    let address = [10, 0, (number >> 8) as u8, number as u8].into();
    Holder {
        source: address,
        address,
    }
}

/// This many peers, with leases that start at this time.
fn restored(peers: u32, now: Time) -> Network {
    let record = |number| StoredPeer {
        host: hostname(number),
        id: id(number),
        role: Role(0),
        holder: holder(number),
        epoch: u64::from(number) + 1,
    };
    Network::restore(rules(), 1, (0..peers).map(record), [], now).0
}

proptest! {
    #[test]
    fn leases_end_in_parts_as_they_do_at_once(
        peers in 1u32..300,
        heard in prop::collection::vec((0u32..300, 1u64..LEASE), 0..300),
        most in 1usize..100,
        now in LEASE..2 * LEASE,
    ) {
        let (mut whole, mut parts) = (restored(peers, Time(1)), restored(peers, Time(1)));
        for network in [&whole, &parts] {
            for (number, at) in &heard {
                if let Some(peer) = network.peer(id(*number)) {
                    peer.lease.renew(Time(*at), Duration::from_millis(LEASE));
                }
            }
        }
        let now = Time(now);
        whole.expire(now, usize::MAX);
        let mut looks = 0;
        while parts.next_deadline().is_some_and(|deadline| deadline <= now) {
            parts.expire(now, most);
            looks += most;
            // Each lease is checked once.
            prop_assert!(looks < peers as usize + most);
        }
        for number in 0..peers {
            prop_assert_eq!(whole.is_live(id(number)), parts.is_live(id(number)));
        }
        prop_assert_eq!(whole.revision(), parts.revision());
        prop_assert_eq!(whole.next_deadline(), parts.next_deadline());
    }
}

/// Whatever else expires at the same moment, a host is taken over exactly if its
/// lease has expired.
#[test]
fn a_hosts_own_lease_is_exact_among_very_many() {
    let mut network = restored(5_000, Time(1));
    let lasting = Duration::from_millis(LEASE);
    let lives = network.peer(id(4_000)).unwrap().clone();
    assert!(lives.lease.renew(Time(LEASE), lasting));
    let now = Time(1 + LEASE);
    let stranger = holder(60_000);
    let mut changes = Vec::new();
    let mut register = |number| {
        let host = hostname(number);
        network
            .register(now, &host, None, stranger, &mut changes)
            .unwrap()
    };
    assert_eq!(register(4_999).holder, stranger);
    assert_eq!(register(4_000).holder, holder(4_000));
    assert_eq!(changes.len(), 1);
    // Most of the others are not checked for that.
    assert!(network.live_len() > 4_000);
    network.expire(now, usize::MAX);
    assert_eq!(network.live_len(), 2);
}

/// A change that is not stored must not end a lease in the states that remain.
#[test]
fn what_is_not_stored_leaves_the_lease_as_it_was() {
    let mut network = restored(2, Time(1_000));
    let mut changes = Vec::new();
    let mut undone = network.clone();
    let left = undone.leave(Time(1_100), &hostname(0), holder(0)).unwrap();
    assert!(!undone.is_live(left.id));
    assert!(undone.release(&hostname(1), &mut changes));
    drop(undone);
    for number in [0, 1] {
        let host = hostname(number);
        let peer = network.register(Time(1_200), &host, None, holder(9), &mut changes);
        assert_eq!(peer.unwrap().holder, holder(number), "it is the holder");
        assert!(network.is_live(id(number)));
    }
}
