//! The one writer, over a store that the test watches.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{simple_zone, zones};
use param_daemon::{
    clock::Clock,
    registry::Registry,
    store::{Contents, Registration, Store, StoreError, Write},
    zone,
};

/// More than serials are reserved at a time.
const PEERS: u32 = 70_000;

/// A slow disk that remembers which serials are reserved.
struct SlowStore(Arc<AtomicU64>);

impl Store for SlowStore {
    fn load(&mut self, _origin: &str) -> Result<Contents, StoreError> {
        let registration = |number: u32| Registration {
            host: format!("host-{number}"),
            sequence: "vp".into(),
            number,
            role: "mixed".into(),
            source: [10, 0, 0, 1].into(),
            address: [10, 0, 0, 1].into(),
        };
        Ok(Contents {
            registrations: (0..PEERS).map(registration).collect(),
            pins: Vec::new(),
            serial: 1,
        })
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        thread::sleep(Duration::from_millis(100));
        for write in writes {
            if let Write::Serial { serial, .. } = write {
                self.0.store(*serial, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

/// After a crash the serial goes on from the reserved ones, so none above them
/// may ever have been seen; also when very many leases end at once.
#[test]
fn no_serial_is_published_before_it_is_reserved() {
    let zones = zones(&[("t.toml", &simple_zone("lease = \"1s\"", ""))]);
    let zones = zone::read_directory(zones.path()).unwrap();
    let reserved = Arc::new(AtomicU64::new(0));
    let store = Box::new(SlowStore(reserved.clone()));
    let (registry, _end) = Registry::start(zones, store, Clock::start()).unwrap();
    let published = &registry.zones()[0];
    let start = Instant::now();
    loop {
        // The published one first: what is reserved only rises.
        let network = published.network();
        assert!(network.revision() < reserved.load(Ordering::SeqCst));
        if network.live_len() == 0 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the leases end");
    }
}
