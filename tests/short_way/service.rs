//! A service without sockets that can be asked either way.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use hickory_proto::{
    op::Message,
    rr::rdata::opt::{EdnsCode, EdnsOption},
    serialize::binary::{BinDecodable as _, BinDecoder},
};
use param_daemon::{
    clock::Clock,
    network::{Holder, Hostname},
    registry::{Action, Registry},
    server::{
        config::Config,
        config::limits::Limits,
        policy::cookie::Cookies,
        policy::limits::Limiter,
        policy::source::Source,
        query::fast::{FastOutcome, Questions},
        query::{handler::Handler, outcome::Outcome},
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

pub struct Both {
    pub runtime: Runtime,
    pub handler: Handler,
    pub cookies: Arc<Cookies>,
}

impl Both {
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
            let asker = Holder {
                source: source.parse().unwrap(),
                address: address.parse().unwrap(),
            };
            let role = if number == 1 { "validator" } else { "mixed" };
            let role = roles.role_named(role);
            let register = Action::Register {
                host: host.clone(),
                role,
                asker,
            };
            runtime.block_on(registry.ask(place, register)).unwrap();
            if host.as_str() == "gone" {
                let leave = Action::Leave { host, asker };
                runtime.block_on(registry.ask(place, leave)).unwrap();
            }
        }
        let cookies = Arc::new(Cookies::configured([7; 16], None));
        let limits = Limiter::new(&Limits {
            responses_per_second: 0,
            ..Limits::default()
        });
        let limits = Arc::new(limits.unwrap());
        let config = Config::default();
        let handler = Handler::new(registry, &config, None, cookies.clone(), limits, clock);
        Self {
            runtime,
            handler,
            cookies,
        }
    }

    pub fn long(&self, packet: &[u8], source: Source) -> Option<Vec<u8>> {
        match self.handler.handle(packet, source) {
            Outcome::Silence | Outcome::Transfer(_) => None,
            Outcome::Reply(reply) => Some(reply),
            Outcome::Later(later) => self.runtime.block_on(later),
        }
    }

    /// Compares the two ways; says whether the short one answered.
    pub fn compare(&self, packet: &[u8], source: Source) -> Result<bool, TestCaseError> {
        let mut short_way = self.handler.fast_path();
        short_way.refresh();
        let mut short = Vec::new();
        match short_way.answer(packet, source, &mut short) {
            FastOutcome::Declined => {
                prop_assert!(short.is_empty());
                return Ok(false);
            }
            FastOutcome::Silence => {
                prop_assert!(short.is_empty());
                prop_assert_eq!(self.long(packet, source), None);
                return Ok(true);
            }
            FastOutcome::Reply => {}
        }
        let long = self.long(packet, source);
        let long = long.ok_or_else(|| TestCaseError::fail("the long way says nothing"))?;
        let (short, long) = (meaning(&short)?, meaning(&long)?);
        prop_assert_eq!(short, long);
        Ok(true)
    }

    /// Lets both decide what the packet asks of the registry, this one late and
    /// the other by the long way, and compares what they say.
    pub fn compare_late(
        &self,
        other: &Self,
        packet: &[u8],
        source: Source,
    ) -> Result<Late, TestCaseError> {
        let mut short_way = self.handler.fast_path();
        short_way.refresh();
        let mut questions = Questions::default();
        short_way.read(std::iter::once(packet), &mut questions);
        let mut reply = Vec::new();
        let short = short_way.answer_to(questions.at(0), source, &mut reply);
        let asking = questions.at(0).filter(|_| short == FastOutcome::Declined);
        let asking = asking.and_then(|question| short_way.asking(question, source));
        let long = other.long(packet, source);
        let Some(asking) = asking else {
            // So that both stay as they are to each other.
            self.long(packet, source);
            return Ok(Late::NotAsked);
        };
        let registry = self.handler.registry();
        let decision = registry.ask(asking.place, asking.action());
        let decision = self.runtime.block_on(decision);
        let kind = match &decision {
            Ok(_) => Late::Granted,
            Err(_) => Late::Denied,
        };
        let mut short_way = self.handler.fast_path();
        let late = self
            .handler
            .answer_decided(&mut short_way, asking, (packet, source), decision);
        let late = late.ok_or_else(|| TestCaseError::fail("no reply when it is decided"))?;
        let long = long.ok_or_else(|| TestCaseError::fail("the long way says nothing"))?;
        prop_assert_eq!(meaning(&late)?, meaning(&long)?);
        Ok(kind)
    }
}

/// What became of a packet that may wait for the registry.
#[derive(Debug, Clone, Copy)]
pub enum Late {
    NotAsked,
    Granted,
    Denied,
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
