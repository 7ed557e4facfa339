//! The responder over a registry whose store lives in memory.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use hickory_proto::rr::Name;
use param_daemon::{
    clock::Clock,
    keys::Key,
    registry::{PublishedZone, Registry},
    server::{
        config::{Config, Identity, access::Access, keys::Keys, limits::Limits},
        policy::{
            cookie::Cookies,
            limits::Limiter,
            source::{Source, Transport},
        },
        query::{Outcome, responder::Responder, snapshot::Queries},
    },
    store::{Contents, Pin, Registration, Store, StoreError, Write},
    zone::Zone,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

/// Where packets come from: loopback, networks that may register, one that may
/// not, and addresses that only a forger has.
const SOURCES: [&str; 8] = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "::ffff:10.0.0.2",
    "fd00::5",
    "192.0.2.1",
    "0.0.0.0",
    "255.255.255.255",
];

/// A source, chosen by one octet.
pub fn source(choice: u8) -> Source {
    let address: IpAddr = SOURCES[usize::from(choice & 7)]
        .parse()
        .expect("an address");
    let transport = match choice & 24 {
        0 | 16 => Transport::Udp,
        8 => Transport::Tcp,
        _ => Transport::Tls,
    };
    Source::new(SocketAddr::new(address, 4_711), transport, address)
}

/// A store that every service has in common to which it is given.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Stored>>>);

#[derive(Default)]
struct Stored {
    by_host: BTreeMap<String, Registration>,
    pins: BTreeMap<String, Pin>,
    serial: u64,
}

impl Memory {
    fn stored(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Store for Memory {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        let stored = self.stored();
        let contents = stored.get(origin).map(|stored| Contents {
            registrations: stored.by_host.values().cloned().collect(),
            pins: stored.pins.values().cloned().collect(),
            serial: stored.serial,
            ..Contents::default()
        });
        Ok(contents.unwrap_or_default())
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(self.stored().keys().cloned().collect())
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let mut stored = self.stored();
        for write in writes {
            match write.clone() {
                Write::Put {
                    origin,
                    registration,
                } => {
                    let by_host = &mut stored.entry(origin.to_string()).or_default().by_host;
                    by_host.insert(registration.host.clone(), registration);
                }
                Write::Delete { origin, host, .. } => {
                    let stored = stored.entry(origin.to_string()).or_default();
                    stored.by_host.remove(&host);
                }
                Write::Pin { origin, pin } => {
                    let pins = &mut stored.entry(origin.to_string()).or_default().pins;
                    pins.insert(pin.host.clone(), pin);
                }
                Write::Unpin { origin, host } => {
                    stored
                        .entry(origin.to_string())
                        .or_default()
                        .pins
                        .remove(&host);
                }
                Write::Serial { origin, serial } => {
                    stored.entry(origin.to_string()).or_default().serial = serial;
                }
            }
        }
        Ok(COMMITS.fetch_add(1, Ordering::Relaxed))
    }
}

/// The number of the next commit.
static COMMITS: AtomicU64 = AtomicU64::new(1);

/// A service without sockets.
pub struct Service {
    responder: Responder,
    pub zones: Vec<Arc<PublishedZone>>,
    pub access: Access,
    pub cookies: Arc<Cookies>,
    runtime: Runtime,
    ended: oneshot::Receiver<()>,
}

/// What came of a packet.
pub enum Replies {
    None,
    One(Vec<u8>),
    Transfer(Vec<Vec<u8>>),
}

impl Service {
    pub fn start(zones: Vec<Zone>, store: &Memory) -> Self {
        let clock = Clock::start();
        let (registry, ended) = Registry::start(zones, Box::new(store.clone()), clock.clone())
            .expect("what was stored fits the zones");
        let zones = registry.zones().to_vec();
        // The longest name that a configuration may have, and a key.
        let key = Key::new("fuzz", "hmac-sha256", "AAECAwQFBgcICQoLDA0ODw==");
        let config = Config {
            identity: Identity {
                name: Some("n".repeat(255)),
                version: true,
            },
            keys: Keys(vec![key.expect("a key")]),
            ..Config::default()
        };
        let access = config.access.clone();
        // Otherwise nothing would be answered after a while.
        let limits = Limiter::new(&Limits {
            responses_per_second: 0,
            new_hosts_per_source: 0,
            ..Limits::default()
        });
        let limits = Arc::new(limits.expect("random numbers"));
        let cookies = Arc::new(Cookies::configured([7; 16], Some([8; 16])));
        let responder = Responder::new(registry, &config, None, cookies.clone(), limits, clock);
        Self {
            responder,
            zones,
            access,
            cookies,
            runtime: Builder::new_current_thread().build().expect("a runtime"),
            ended,
        }
    }

    /// Handles a packet to the end, however long that takes.
    pub fn ask(&self, packet: &[u8], source: Source) -> Replies {
        let snapshot = self.responder.snapshot();
        let mut queries = Queries::default();
        snapshot.read(std::iter::once(packet), &mut queries);
        let (query, mut reply) = (queries.at(0), Vec::new());
        match self
            .responder
            .answer(&snapshot, query, packet, &source, &mut reply)
        {
            Outcome::NoReply => Replies::None,
            Outcome::Reply => Replies::One(reply),
            Outcome::Pending(pending) => self
                .runtime
                .block_on(self.responder.finish(*pending))
                .map_or(Replies::None, Replies::One),
            Outcome::Transfer(transfer) => {
                let mut octets = Vec::new();
                transfer.write(|messages| {
                    octets.extend(messages);
                    Some(())
                });
                Replies::Transfer(messages(&octets))
            }
        }
    }

    /// The zone of that name, the innermost, and its place.
    pub fn zone_of(&self, name: &Name) -> Option<(usize, &Zone)> {
        let zones = self.zones.iter().map(|published| published.zone.as_ref());
        zones
            .enumerate()
            .filter(|(_, zone)| zone.contains(name))
            .max_by_key(|(_, zone)| zone.origin.num_labels())
    }

    /// Another number whenever anything that is stored has changed.
    pub fn changes(&self) -> u64 {
        self.zones.iter().map(|zone| zone.changed()).sum()
    }

    /// Ends when the writer has.
    pub fn stop(self) {
        drop(self.responder);
        let ended = self.runtime.block_on(self.ended);
        ended.expect("the writer does not panic");
    }
}

/// The messages of a connection, each with its length before it.
fn messages(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = octets.split_first_chunk() {
        let (message, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        messages.push(message.to_vec());
        octets = rest;
    }
    messages
}
