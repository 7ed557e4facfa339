//! The store on disk returns exactly what was committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::unlocked;
use param_daemon::store::{Pin, Registration, SledStore, Store, Write};
use proptest::prelude::*;

/// Registrations by origin, sequence and number; pins by origin and host.
#[derive(Debug, Default, PartialEq)]
struct Model {
    registrations: BTreeMap<(String, String, u32), Registration>,
    pins: BTreeMap<(String, String), Pin>,
    serials: BTreeMap<String, u64>,
}

const ORIGINS: [&str; 3] = ["a.internal.", "b.internal.", "a."];

/// The name of one sequence is a prefix of another.
const SEQUENCES: [&str; 3] = ["vp", "v", "nvp"];

fn write() -> impl Strategy<Value = Write> {
    let place = (
        prop::sample::select(&ORIGINS[..]),
        prop::sample::select(&SEQUENCES[..]),
        prop_oneof![8 => 0u32..100, 1 => any::<u32>()],
        0u32..6,
    );
    let kind = prop_oneof![6 => Just(0), 3 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4)];
    (place, kind, any::<std::net::IpAddr>()).prop_map(
        |((origin, sequence, number, host), kind, address)| {
            let origin = origin.into();
            let (host, sequence) = (format!("host-{host}"), sequence.to_owned());
            match kind {
                0 => Write::Put {
                    origin,
                    registration: Registration {
                        host,
                        sequence,
                        number,
                        role: "mixed".into(),
                        source: address,
                        address,
                        epoch: 1,
                    },
                },
                1 => Write::Delete {
                    origin,
                    host,
                    sequence,
                    number,
                },
                2 => Write::Pin {
                    origin,
                    pin: Pin {
                        host,
                        sequence,
                        number,
                    },
                },
                3 => Write::Unpin { origin, host },
                _ => Write::Serial {
                    origin,
                    serial: u64::from(number),
                },
            }
        },
    )
}

impl Model {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Put {
                origin,
                registration: it,
            } => {
                let key = (origin.to_string(), it.sequence.clone(), it.number);
                self.registrations.insert(key, it);
            }
            Write::Delete {
                origin,
                host,
                sequence,
                number,
            } => {
                let key = (origin.to_string(), sequence, number);
                if self
                    .registrations
                    .get(&key)
                    .is_some_and(|it| it.host == host)
                {
                    self.registrations.remove(&key);
                }
            }
            Write::Pin { origin, pin } => {
                self.pins
                    .insert((origin.to_string(), pin.host.clone()), pin);
            }
            Write::Unpin { origin, host } => {
                self.pins.remove(&(origin.to_string(), host));
            }
            Write::Serial { origin, serial } => {
                self.serials.insert(origin.to_string(), serial);
            }
        }
    }

    /// The contents of a store for these origins.
    fn of(store: &mut SledStore) -> Self {
        let mut model = Self::default();
        for origin in ORIGINS {
            let contents = store.load(origin).unwrap();
            for it in contents.registrations {
                let key = (origin.to_owned(), it.sequence.clone(), it.number);
                assert_eq!(model.registrations.insert(key, it), None, "once");
            }
            for pin in contents.pins {
                model
                    .pins
                    .insert((origin.to_owned(), pin.host.clone()), pin);
            }
            if contents.serial > 0 {
                model.serials.insert(origin.to_owned(), contents.serial);
            }
        }
        model
    }

    /// The origins with registrations or pins.
    fn origins(&self) -> BTreeSet<String> {
        let registrations = self.registrations.keys().map(|(origin, ..)| origin);
        let pins = self.pins.keys().map(|(origin, _)| origin);
        registrations.chain(pins).cloned().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_gives_back_what_was_committed(
        commits in prop::collection::vec(prop::collection::vec(write(), 0..60), 0..8),
        reopen in 0usize..8,
    ) {
        let data = tempfile::tempdir().unwrap();
        let mut store = unlocked(|| SledStore::open(data.path())).unwrap();
        let mut model = Model::default();
        for (place, writes) in commits.into_iter().enumerate() {
            if place == reopen {
                drop(store);
                store = unlocked(|| SledStore::open(data.path())).unwrap();
            }
            store.commit(&writes).unwrap();
            writes.into_iter().for_each(|write| model.apply(write));
            model.serials.retain(|_, serial| *serial > 0);
            prop_assert_eq!(&Model::of(&mut store), &model);
            let origins: BTreeSet<String> = store.origins().unwrap().into_iter().collect();
            prop_assert_eq!(origins, model.origins());
        }
        drop(store);
        let mut store = unlocked(|| SledStore::open(data.path())).unwrap();
        prop_assert_eq!(Model::of(&mut store), model);
    }
}
