//! A replica that follows the writer, by what it is told of the store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use param_daemon::{
    clock::Clock,
    registry::{Event, PublishedZone, Registry},
    store::{
        Registration,
        replication::{BlockPlace, Stored, ZoneChange},
    },
    zone,
};

use crate::common::{simple_zone, zones};

/// A replica with the zones `test.internal` and `other.internal`, in this order.
fn follower() -> Registry {
    let other = simple_zone("", "").replace("test.internal", "other.internal");
    let directory = zones(&[("t.toml", &simple_zone("", "")), ("u.toml", &other)]);
    let mut zones = zone::read_directory(directory.path()).unwrap();
    zones.sort_by_key(|zone| zone.origin_text() != "test.internal.");
    let (registry, _end) = Registry::join(zones, Stored::default(), Clock::start()).unwrap();
    registry
}

fn tell(registry: &Registry, event: Event) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    assert!(runtime.block_on(registry.notify(event)));
}

/// What a transaction has stored of the first zone: these hosts.
fn change(hosts: &[u32], serial: Option<u64>) -> ZoneChange {
    let registration = |number: &u32| Registration {
        host: format!("host-{number}"),
        sequence: "vp".into(),
        number: *number,
        role: "mixed".into(),
        source: [10, 0, 0, 1].into(),
        address: [10, 0, 0, 1].into(),
        epoch: 1,
    };
    let place = |number: &u32| BlockPlace {
        sequence: "vp".into(),
        index: number / 32,
    };
    let blocks = hosts.iter();
    ZoneChange {
        blocks: blocks
            .map(|it| (place(it), vec![registration(it)]))
            .collect(),
        serial,
        ..ZoneChange::default()
    }
}

fn stored(commit: u64, is_open: bool, change: ZoneChange) -> Stored {
    Stored {
        commit,
        is_open,
        zones: [("test.internal.".to_owned(), change)].into(),
    }
}

fn wait_for(zone: &PublishedZone, commit: u64) {
    let start = Instant::now();
    while zone.commit() < commit {
        assert!(start.elapsed() < Duration::from_secs(5), "commit {commit}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_commit_is_published_when_its_last_transaction_has_come() {
    let registry = follower();
    let zone = &registry.zones()[0];
    tell(
        &registry,
        Event::Stored(stored(5, true, change(&[0], Some(4)))),
    );
    tell(
        &registry,
        Event::Stored(stored(6, true, change(&[40], None))),
    );
    // It would be published by now.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((zone.network().len(), zone.commit()), (0, 0));
    tell(
        &registry,
        Event::Stored(stored(7, false, change(&[80], Some(9)))),
    );
    wait_for(zone, 7);
    assert_eq!((zone.network().len(), zone.network().revision()), (3, 8));
}

#[test]
fn a_zone_that_a_commit_does_not_change_is_not_published_anew() {
    let registry = follower();
    let [changed, other] = registry.zones() else {
        panic!("two zones");
    };
    let views = [changed.view(), other.view()];
    tell(
        &registry,
        Event::Stored(stored(5, false, change(&[0], Some(3)))),
    );
    wait_for(other, 5);
    assert_eq!(changed.commit(), 5);
    assert!(!Arc::ptr_eq(&views[0], &changed.view()));
    assert!(Arc::ptr_eq(&views[1], &other.view()));
}
