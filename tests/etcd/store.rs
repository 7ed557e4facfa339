//! The store by itself: commits of any size, and the compares of its transactions.

use std::{path::Path, sync::Arc, time::Duration};

use param_daemon::store::{
    Contents, Pin, Registration, Store as _, StoreError, Write,
    etcd::{Access, Settings, SoleStore},
};

use crate::cluster::Cluster;

const ORIGIN: &str = "test.internal.";

/// A store whose leadership ends when it is dropped.
fn open(cluster: &Cluster, data: &Path, lease: u64) -> SoleStore {
    let settings = Settings {
        access: Access {
            members: cluster.addresses(),
            ..Access::default()
        },
        prefix: "/paramd".into(),
        lease: Duration::from_secs(lease),
    };
    SoleStore::open(data, &settings, "test").unwrap()
}

fn origin() -> Arc<str> {
    ORIGIN.into()
}

fn registration(number: u32, host: &str, epoch: u64) -> Registration {
    Registration {
        host: host.into(),
        sequence: "vp".into(),
        number,
        role: "mixed".into(),
        source: [10, 0, 0, 1].into(),
        address: [10, 0, 0, 2].into(),
        epoch,
    }
}

fn put(number: u32, host: &str, epoch: u64) -> Write {
    Write::Put {
        origin: origin(),
        registration: registration(number, host, epoch),
    }
}

fn pin(number: u32, host: &str) -> Write {
    Write::Pin {
        origin: origin(),
        pin: Pin {
            host: host.into(),
            sequence: "vp".into(),
            number,
        },
    }
}

fn numbers(contents: &Contents) -> Vec<u32> {
    let registrations = contents.registrations.iter();
    registrations
        .map(|registration| registration.number)
        .collect()
}

#[test]
fn a_commit_of_any_size_is_stored_and_read_in_pages() {
    let cluster = Cluster::start(1);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 60);
    let empty = store.store.load(ORIGIN).unwrap();
    assert_eq!(empty, Contents::default());
    // 625 blocks, which is more than one page and five transactions; and 300 pins.
    let puts = (0..20_000).map(|number| put(number, &format!("host-{number}"), 1));
    let pins = (0..300).map(|number| pin(100_000 + number, &format!("pinned-{number}")));
    let serial = Write::Serial {
        origin: origin(),
        serial: 77,
    };
    let writes: Vec<Write> = puts.chain(pins).chain([serial]).collect();
    let first = store.store.commit(&writes).unwrap();
    let contents = store.store.load(ORIGIN).unwrap();
    assert_eq!(numbers(&contents), (0..20_000).collect::<Vec<_>>());
    assert_eq!(contents.pins.len(), 300);
    assert_eq!(contents.serial, 77);
    assert_eq!((contents.commit, contents.changed), (first, first));
    // A commit that changes no peer.
    let serial = Write::Serial {
        origin: origin(),
        serial: 78,
    };
    let second = store.store.commit(&[serial]).unwrap();
    assert!(second > first);
    let contents = store.store.load(ORIGIN).unwrap();
    assert_eq!((contents.commit, contents.changed), (second, first));
    let deletions = (0..20_000).map(|number| Write::Delete {
        origin: origin(),
        host: format!("host-{number}"),
        sequence: "vp".into(),
        number,
    });
    let unpins = (0..300).map(|number| Write::Unpin {
        origin: origin(),
        host: format!("pinned-{number}"),
    });
    assert_eq!(store.store.origins().unwrap(), [ORIGIN]);
    store
        .store
        .commit(&deletions.chain(unpins).collect::<Vec<_>>())
        .unwrap();
    assert!(store.store.origins().unwrap().is_empty());
    let contents = store.store.load(ORIGIN).unwrap();
    assert!(!contents.names_peers());
    assert_eq!(contents.serial, 78);
    drop(store);
    // The leader key is gone with the store, and the witness is there.
    assert!(cluster.ctl(&["get", "/paramd/1/leader"]).is_empty());
    drop(open(&cluster, data.path(), 60));
}

#[test]
fn the_last_of_several_writes_of_a_key_counts() {
    let cluster = Cluster::start(1);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 60);
    let unpin = Write::Unpin {
        origin: origin(),
        host: "a".into(),
    };
    let delete = Write::Delete {
        origin: origin(),
        host: "a".into(),
        sequence: "vp".into(),
        number: 1,
    };
    let writes = [
        pin(1, "a"),
        unpin,
        pin(2, "a"),
        put(1, "a", 1),
        delete,
        put(1, "b", 2),
    ];
    store.store.commit(&writes).unwrap();
    let contents = store.store.load(ORIGIN).unwrap();
    assert_eq!(contents.registrations, [registration(1, "b", 2)]);
    assert_eq!(contents.pins[0].number, 2);
}

/// Between two transactions of a commit that moves a host.
#[test]
fn a_host_that_was_moved_in_part_has_the_later_registration() {
    let cluster = Cluster::start(1);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 60);
    store
        .store
        .commit(&[put(1, "a", 1), put(2, "b", 2), put(200, "a", 3)])
        .unwrap();
    let contents = store.store.load(ORIGIN).unwrap();
    assert_eq!(numbers(&contents), [2, 200]);
}

#[test]
fn another_leader_key_refuses_a_commit() {
    let cluster = Cluster::start(1);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 60);
    store.store.commit(&[put(1, "a", 1)]).unwrap();
    // The same key, created again.
    cluster.ctl(&["del", "/paramd/1/leader"]);
    cluster.ctl(&["put", "/paramd/1/leader", "{}"]);
    let error = store.store.commit(&[put(2, "b", 1)]).unwrap_err();
    assert!(
        matches!(error, StoreError::LeadershipLost { .. }),
        "{error}"
    );
    assert!(!cluster.stored().contains("\"b\""), "{}", cluster.stored());
}

/// As a snapshot would have it that was taken before.
#[test]
fn a_commit_is_refused_where_the_last_one_is_missing() {
    let cluster = Cluster::start(1);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 60);
    store.store.commit(&[put(1, "a", 1)]).unwrap();
    cluster.ctl(&["del", "/paramd/1/commit"]);
    let error = store.store.commit(&[put(2, "b", 1)]).unwrap_err();
    assert!(matches!(error, StoreError::Behind { .. }), "{error}");
    assert!(!cluster.stored().contains("\"b\""), "{}", cluster.stored());
}

/// Every commit that was acknowledged is there, whatever became of the others.
#[test]
fn what_is_acknowledged_while_members_come_and_go_is_stored() {
    let mut cluster = Cluster::start(3);
    let data = tempfile::tempdir().unwrap();
    let mut store = open(&cluster, data.path(), 300);
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    for number in 0..60 {
        let place = number as usize / 10 % 3;
        match number % 10 {
            3 => cluster.kill_member(place),
            5 => cluster.kill_member((place + 1) % 3),
            7 => {
                cluster.start_member(place);
                cluster.start_member((place + 1) % 3);
                cluster.wait();
            }
            _ => {}
        }
        match store
            .store
            .commit(&[put(number, &format!("host-{number}"), 1)])
        {
            Ok(_) => acknowledged.push(number),
            Err(error) => {
                assert!(matches!(error, StoreError::Write { .. }), "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0 && acknowledged.len() > 20, "{failed} failed");
    let contents = store.store.load(ORIGIN).unwrap();
    let stored = numbers(&contents);
    for number in acknowledged {
        assert!(stored.contains(&number), "{number} in {stored:?}");
    }
}
