//! The writer, with a store that the test observes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::{simple_zone, zones};
use param_daemon::{
    clock::Clock,
    network::Holder,
    registry::{Action, Grant, Registry},
    store::{Contents, Registration, Store, StoreError, Write},
    zone,
};

/// More than the number of serials that are reserved at a time.
const PEERS: u32 = 70_000;

/// A slow disk with this many peers, which remembers the reserved serials and the
/// number of commits.
struct SlowStore {
    peers: u32,
    reserved: Arc<AtomicU64>,
    commits: Arc<AtomicU64>,
}

impl Store for SlowStore {
    fn load(&mut self, _origin: &str) -> Result<Contents, StoreError> {
        let registration = |number: u32| Registration {
            host: format!("host-{number}"),
            sequence: "vp".into(),
            number,
            role: "mixed".into(),
            source: [10, 0, 0, 1].into(),
            address: [10, 0, 0, 1].into(),
            epoch: 1,
        };
        Ok(Contents {
            registrations: (0..self.peers).map(registration).collect(),
            pins: Vec::new(),
            serial: 1,
            ..Contents::default()
        })
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        thread::sleep(Duration::from_millis(100));
        for write in writes {
            if let Write::Serial { serial, .. } = write {
                self.reserved.store(*serial, Ordering::SeqCst);
            }
        }
        Ok(self.commits.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// After a crash the serial continues from the reserved ones, so none above them
/// may ever have been published, even when very many leases end at once.
#[test]
fn no_serial_is_published_before_it_is_reserved() {
    let zones = zones(&[("t.toml", &simple_zone("lease = \"1s\"", ""))]);
    let zones = zone::read_directory(zones.path()).unwrap();
    let reserved = Arc::new(AtomicU64::new(0));
    let store = Box::new(SlowStore {
        peers: PEERS,
        reserved: reserved.clone(),
        commits: Arc::default(),
    });
    let (registry, _end) = Registry::start(zones, store, Clock::start()).unwrap();
    let published = &registry.zones()[0];
    let start = Instant::now();
    loop {
        // Read the published one first: the reservation only rises.
        let network = published.network();
        assert!(network.revision() < reserved.load(Ordering::SeqCst));
        if network.live_len() == 0 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the leases end");
    }
}

/// Requests that wait while the disk is writing share the next flush, but not the
/// answers: each sees those before it, and none after it.
#[test]
fn each_of_a_flush_is_told_the_root_nodes_of_its_moment() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let zones = zone::read_directory(zones.path()).unwrap();
    let commits = Arc::new(AtomicU64::new(0));
    let store = Box::new(SlowStore {
        peers: 0,
        reserved: Arc::default(),
        commits: commits.clone(),
    });
    let (registry, _end) = Registry::start(zones, store, Clock::start()).unwrap();
    let registry = Arc::new(registry);
    let host = |number: u8| format!("host-{number}").parse().unwrap();
    let client = |number: u8| Holder {
        source: [10, 0, 0, number].into(),
        address: [10, 0, 0, number].into(),
    };
    let register = |number| Action::Register {
        host: host(number),
        role: None,
        client: client(number),
    };
    let leave = |number| Action::Leave {
        host: host(number),
        client: client(number),
    };
    let actions = [
        register(0),
        register(1),
        register(2),
        register(3),
        register(4),
        leave(1),
        register(5),
        register(1),
        register(0),
    ];
    let asked = actions.len() as u64;
    // A single thread polls the tasks in the order in which they were spawned.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let told: Vec<Vec<u32>> = runtime.block_on(async {
        let answers = actions.map(|action| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.request(0, action).await })
        });
        let mut told = Vec::new();
        for answer in answers {
            let Ok(Grant::Peer { peer, view, .. }) = answer.await.unwrap() else {
                panic!("not granted");
            };
            let roots = view.network.roots(&peer).map(|root| root.id.number);
            told.push(roots.collect());
        }
        told
    });
    let expected: [&[u32]; 9] = [
        &[],
        &[0],
        &[0, 1],
        &[0, 1, 2],
        &[0, 1, 2],
        &[0, 2, 3],
        &[0, 2, 3],
        &[0, 2, 3],
        &[1, 2, 3],
    ];
    assert_eq!(told, expected);
    assert!(commits.load(Ordering::SeqCst) < asked, "they share flushes");
}
