//! The expected contents after random writes.

use std::collections::BTreeMap;

use param_daemon::store::{Contents, LocalStore, Pin, Registration, Store as _, Write};
use proptest::prelude::*;

pub const ORIGINS: [&str; 2] = ["a.internal.", "b."];

/// Each host has one number that it may have, as in a network.
pub fn write() -> impl Strategy<Value = Write> {
    let place = (prop::sample::select(&ORIGINS[..]), 0u32..30);
    (place, 0..6, any::<std::net::IpAddr>()).prop_map(|((origin, number), kind, address)| {
        let origin = origin.into();
        let (host, sequence) = (format!("host-{number}"), "vp".to_owned());
        match kind {
            0 => Write::Delete {
                origin,
                host,
                sequence,
                number,
            },
            1 => Write::Pin {
                origin,
                pin: Pin {
                    host,
                    sequence,
                    number,
                },
            },
            2 => Write::Unpin { origin, host },
            _ => Write::Put {
                origin,
                registration: registration(number, address),
            },
        }
    })
}

pub fn registration(number: u32, address: std::net::IpAddr) -> Registration {
    Registration {
        host: format!("host-{number}"),
        sequence: "vp".into(),
        number,
        role: "mixed".into(),
        source: address,
        address,
        epoch: 1,
    }
}

pub fn serial(origin: &str, serial: u64) -> Write {
    Write::Serial {
        origin: origin.into(),
        serial,
    }
}

/// What is stored of both zones.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Model {
    pub registrations: BTreeMap<(String, u32), Registration>,
    pub pins: BTreeMap<(String, String), Pin>,
    pub serial: u64,
}

impl Model {
    pub fn apply(&mut self, writes: &[Write]) {
        for write in writes.iter().cloned() {
            let zone = write.origin().to_string();
            match write {
                Write::Put { registration, .. } => {
                    let key = (zone, registration.number);
                    self.registrations.insert(key, registration);
                }
                Write::Delete { number, .. } => {
                    self.registrations.remove(&(zone, number));
                }
                Write::Pin { pin, .. } => {
                    self.pins.insert((zone, pin.host.clone()), pin);
                }
                Write::Unpin { host, .. } => {
                    self.pins.remove(&(zone, host));
                }
                Write::Serial { serial, .. } => self.serial = serial,
            }
        }
    }

    fn of(mut contents: impl FnMut(&str) -> Contents) -> Self {
        let mut model = Self::default();
        for origin in ORIGINS {
            let contents = contents(origin);
            let zone = || origin.to_owned();
            let registrations = contents.registrations.into_iter();
            let registrations = registrations.map(|it| ((zone(), it.number), it));
            model.registrations.extend(registrations);
            let pins = contents.pins.into_iter();
            model
                .pins
                .extend(pins.map(|it| ((zone(), it.host.clone()), it)));
            model.serial = model.serial.max(contents.serial);
        }
        model
    }

    pub fn of_store(store: &mut LocalStore) -> Self {
        Self::of(|origin| store.load(origin).unwrap())
    }
}
