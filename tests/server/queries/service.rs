//! A service without sockets.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use hickory_proto::{
    op::Message,
    rr::rdata::opt::{EdnsCode, EdnsOption},
    serialize::binary::{BinDecodable as _, BinDecoder},
};
use param_daemon::{
    clock::Clock,
    network::{Holder, Hostname},
    registry::{Action, PublishedZone, Registry},
    server::{
        config::{Config, limits::Limits},
        policy::{cookie::Cookies, limits::Limiter, source::Source},
        query::{Outcome, responder::Responder, snapshot::Queries},
    },
    store::{Contents, Store, StoreError, Write},
    zone,
};
use proptest::prelude::*;
use tokio::runtime::Runtime;

/// Keeps nothing: the registry has all that is needed here.
struct Nowhere;

impl Store for Nowhere {
    fn load(&mut self, _origin: &str) -> Result<Contents, StoreError> {
        Ok(Contents::default())
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, _writes: &[Write]) -> Result<u64, StoreError> {
        Ok(0)
    }
}

pub const ZONE: &str = "pbft.fabric.internal";

/// A zone within it.
const BELOW: &str = "validator.pbft.fabric.internal";

/// Each host, where it asks from, and the address that it states.
const HOSTS: [(&str, &str, &str); 4] = [
    ("peer-1", "127.0.0.1", "127.0.0.1"),
    ("peer_2", "10.0.0.2", "10.0.1.2"),
    ("3", "fd00::3", "fd00::33"),
    ("gone", "10.0.0.4", "10.0.0.4"),
];

pub struct Service {
    pub runtime: Runtime,
    pub responder: Responder,
    pub cookies: Arc<Cookies>,
}

impl Service {
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones");
        let directory = tempfile::tempdir().unwrap();
        for file in ["pbft.toml", "noops.toml"] {
            fs::copy(shipped.join(file), directory.path().join(file)).unwrap();
        }
        // Its names look like those of hosts with their role in the zone above.
        let below = fs::read_to_string(shipped.join("noops.toml")).unwrap();
        let below = below.replace("noops.fabric.internal", BELOW);
        fs::write(directory.path().join("below.toml"), below).unwrap();
        let zones = zone::read_directory(directory.path()).unwrap();
        let clock = Clock::start();
        let (registry, _end) = Registry::start(zones, Box::new(Nowhere), clock.clone()).unwrap();
        let place = registry
            .zones()
            .iter()
            .position(|published| published.zone.to_string() == ZONE)
            .unwrap();
        let roles = &registry.zones()[place].zone.rules.clone();
        for (number, (host, source, address)) in HOSTS.into_iter().enumerate() {
            let host: Hostname = host.parse().unwrap();
            let client = Holder {
                source: source.parse().unwrap(),
                address: address.parse().unwrap(),
            };
            let role = if number == 1 { "validator" } else { "mixed" };
            let role = roles.role_named(role);
            let register = Action::Register {
                host: host.clone(),
                role,
                client,
            };
            runtime.block_on(registry.request(place, register)).unwrap();
            if host.as_str() == "gone" {
                let leave = Action::Leave { host, client };
                runtime.block_on(registry.request(place, leave)).unwrap();
            }
        }
        let cookies = Arc::new(Cookies::configured([7; 16], None));
        let limits = Limiter::new(&Limits {
            responses_per_second: 0,
            ..Limits::default()
        });
        let limits = Arc::new(limits.unwrap());
        let config = Config::default();
        let responder = Responder::new(registry, &config, None, cookies.clone(), limits, clock);
        Self {
            runtime,
            responder,
            cookies,
        }
    }

    /// Handles a packet as those of a UDP loop are; says whether the reply had to wait.
    pub fn ask(&self, packet: &[u8], source: Source) -> (Option<Vec<u8>>, bool) {
        let snapshot = self.responder.snapshot();
        let mut queries = Queries::default();
        snapshot.read(std::iter::once(packet), &mut queries);
        let mut reply = Vec::new();
        let query = queries.at(0);
        match self
            .responder
            .answer(&snapshot, query, packet, &source, &mut reply)
        {
            Outcome::NoReply | Outcome::Transfer(_) => (None, false),
            Outcome::Reply => (Some(reply), false),
            Outcome::Pending(pending) => {
                assert!(reply.is_empty());
                (self.runtime.block_on(self.responder.finish(*pending)), true)
            }
        }
    }

    /// The same of one packet of a connection.
    pub fn ask_alone(&self, packet: &[u8], source: Source) -> Option<Vec<u8>> {
        let snapshot = self.responder.snapshot();
        let mut reply = Vec::new();
        match self
            .responder
            .handle(&snapshot, packet, &source, &mut reply)
        {
            Outcome::NoReply | Outcome::Transfer(_) => None,
            Outcome::Reply => Some(reply),
            Outcome::Pending(pending) => self.runtime.block_on(self.responder.finish(*pending)),
        }
    }

    /// The zone of that origin.
    pub fn published(&self, origin: &str) -> &Arc<PublishedZone> {
        let mut zones = self.responder.registry.zones().iter();
        let published = zones.find(|published| published.zone.to_string() == origin);
        published.unwrap()
    }
}

/// A message, the spelling of its question, and its options.
pub type Meaning = (Message, Vec<u8>, BTreeSet<String>);

/// What a message says: all of it but the order of the options, and of the
/// server's cookie no more than that there is one.
pub fn meaning(octets: &[u8]) -> Result<Meaning, TestCaseError> {
    let mut decoder = BinDecoder::new(octets);
    let read = Message::read(&mut decoder);
    let mut message = read.map_err(|error| TestCaseError::fail(format!("{error}: {octets:?}")))?;
    prop_assert!(decoder.is_empty(), "nothing stands behind the message");
    let mut options = BTreeSet::new();
    if let Some(edns) = &mut message.edns {
        for (code, option) in edns.options().as_ref() {
            let option = match option {
                EdnsOption::Unknown(10, cookie) => {
                    format!("{} {:?} {:?}", cookie.len(), &cookie[..12], &cookie[12..13])
                }
                option => format!("{option:?}"),
            };
            options.insert(format!("{code:?} {option}"));
        }
        for code in [EdnsCode::Cookie, EdnsCode::Subnet] {
            edns.options_mut().remove(code);
        }
    }
    // The spelling of the question, which names compare without.
    let question = octets[12..].iter().take_while(|octet| **octet != 0);
    let question = question.copied().collect();
    Ok((message, question, options))
}
