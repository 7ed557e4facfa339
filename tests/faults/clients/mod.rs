//! The clients: what they ask, and what the answers mean.
//!
//! Each is a thread in the namespace of the clients, with an address of its own. `dns`
//! is how it asks, `parts` what each of them does, `last_look` what is asked when
//! everything is healed.

mod dns;
pub mod last_look;
pub mod parts;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode, update_message::delete_all},
    rr::{DNSClass, Name, RData, RecordType},
};

use crate::{
    common::{namespaces::enter, random::Random, strings_of},
    history::{Grant, Host, Operation, Outcome, Request, Sequence},
    recorder::Recorder,
};
use dns::{Exchange, Failure, Resolver, Transport};

/// The origin of the zone.
pub const ORIGIN: &str = "faults.internal";

/// The role whose IDs are limited.
pub const LIMITED_ROLE: &str = "rest";

/// What all clients share.
pub struct Field {
    pub recorder: Recorder,
    /// The namespace of the clients.
    pub namespace: String,
    pub replicas: Vec<SocketAddr>,
    pub is_over: AtomicBool,
}

/// A client at one address.
pub struct Client<'f> {
    field: &'f Field,
    resolver: Resolver,
    random: Random,
    /// The replica that it always asks, if it sticks to one.
    home: Option<usize>,
    /// How long it waits for an answer, at least and at most, in milliseconds.
    patience: [usize; 2],
}

impl Field {
    /// Sleeps, or returns at once when the run is over.
    fn sleep(&self, time: Duration) {
        let ends = Instant::now() + time;
        while !self.is_over() && Instant::now() < ends {
            let left = ends.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl<'f> Client<'f> {
    /// The client with this number. Its thread moves to the namespace of the clients.
    pub fn new(field: &'f Field, number: u8, seed: u64, patience: [usize; 2]) -> Self {
        enter(&field.namespace);
        let mut random = Random::new(seed);
        Self {
            field,
            resolver: Resolver::new(address(number), random.next()),
            random,
            home: None,
            patience,
        }
    }

    /// The same, which asks one replica only.
    pub fn at_home(mut self, replica: usize) -> Self {
        self.home = Some(replica % self.field.replicas.len());
        self
    }

    fn address(&self) -> Ipv4Addr {
        self.resolver.address()
    }

    /// Asks a replica, its own or any.
    fn ask(&mut self, request: &Request) -> Outcome {
        let replica = match self.home {
            Some(home) => home,
            None => self.random.below(self.field.replicas.len()),
        };
        self.ask_at(replica, request)
    }

    fn ask_at(&mut self, replica: usize, request: &Request) -> Outcome {
        let [least, most] = self.patience;
        let patience = least + self.random.below(most - least + 1);
        let patience = Duration::from_millis(patience as u64);
        let message = message(self.random.next() as u16, request);
        let is_update = matches!(request, Request::Release(_));
        let transport = match is_update || self.random.percent(20) {
            true => Transport::Tcp,
            false => Transport::Udp,
        };
        let recorder = &self.field.recorder;
        let server = self.field.replicas[replica];
        let Exchange { sent, answer } = self.resolver.ask(server, message, transport, patience);
        let done = recorder.now();
        let outcome = match answer {
            Ok(answer) => outcome(request, &answer),
            Err(Failure::Undelivered(why)) => Outcome::Undelivered(why.to_string()),
            Err(Failure::Unanswered(why)) => Outcome::NoAnswer(reason(&why)),
        };
        recorder.operation(Operation {
            client: self.address(),
            request: request.clone(),
            replica,
            sent: recorder.at(sent),
            done,
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Whether the answer says that this client is the holder.
    fn is_holder(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Granted(grant) if grant.holder == self.address())
    }

    /// Sleeps for a time from one to another, in milliseconds.
    fn sleep(&mut self, least: usize, most: usize) {
        let time = least + self.random.below(most - least + 1);
        self.field.sleep(Duration::from_millis(time as u64));
    }
}

/// The address of a client.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + number)
}

/// The name by which a host registers.
fn name(host: &Host) -> String {
    match host.sequence {
        Sequence::Open => format!("{host}.{ORIGIN}."),
        Sequence::Limited => format!("{host}.{LIMITED_ROLE}.{ORIGIN}."),
    }
}

fn message(id: u16, request: &Request) -> Message {
    let own_name = |host: &Host| format!("{host}.{ORIGIN}.");
    match request {
        Request::Register(host) => dns::query(id, &name(host), RecordType::TXT),
        Request::Leave(host) => {
            dns::query(id, &format!("_leave.{}", own_name(host)), RecordType::TXT)
        }
        Request::AddressOfHost(host) => dns::query(id, &own_name(host), RecordType::A),
        Request::AddressOfId(of) => dns::query(id, &format!("{of}.{ORIGIN}."), RecordType::A),
        Request::StateOfId(of) => dns::query(id, &format!("{of}.{ORIGIN}."), RecordType::TXT),
        Request::Serial => dns::query(id, &format!("{ORIGIN}."), RecordType::SOA),
        Request::Summary => dns::query(id, &format!("{ORIGIN}."), RecordType::TXT),
        Request::Release(host) => {
            let parsed = |name: &str| Name::from_ascii(name).unwrap();
            let (host, origin) = (parsed(&own_name(host)), parsed(&format!("{ORIGIN}.")));
            let mut update = delete_all(host, origin, DNSClass::IN, true);
            update.metadata.id = id;
            update
        }
    }
}

fn outcome(request: &Request, answer: &Message) -> Outcome {
    match answer.metadata.response_code {
        ResponseCode::NoError => {
            data(request, answer).unwrap_or_else(|| Outcome::Strange(one_line(answer)))
        }
        ResponseCode::NXDomain => Outcome::NoName,
        ResponseCode::Refused => Outcome::Refused(dns::extended_error(answer)),
        ResponseCode::ServFail => Outcome::Failed(dns::extended_error(answer)),
        _ => Outcome::Strange(one_line(answer)),
    }
}

/// What an answer without an error says.
fn data(request: &Request, answer: &Message) -> Option<Outcome> {
    let strings = strings_of(answer);
    let value = |key: &str| {
        let mut values = strings.iter().filter_map(|string| string.strip_prefix(key));
        values.next()
    };
    let outcome = match request {
        Request::Register(_) | Request::StateOfId(_) => {
            let address: SocketAddr = value("address=")?.parse().ok()?;
            let SocketAddr::V4(address) = address else {
                return None;
            };
            Outcome::Granted(Grant {
                id: value("id=")?.to_owned(),
                epoch: value("epoch=")?.parse().ok()?,
                holder: *address.ip(),
            })
        }
        Request::Leave(_) => Outcome::Left(value("left=")?.to_owned()),
        Request::Release(_) => Outcome::Released,
        Request::AddressOfHost(_) | Request::AddressOfId(_) => {
            let records = answer.answers.iter();
            let mut addresses = records.filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            });
            addresses
                .next()
                .map_or(Outcome::NoAddress, Outcome::Address)
        }
        Request::Serial => {
            let mut records = answer.answers.iter();
            let serial = records.find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.serial),
                _ => None,
            });
            Outcome::Serial(serial?)
        }
        Request::Summary => Outcome::Summary {
            peers: value("peers=")?.parse().ok()?,
            live: value("live=")?.parse().ok()?,
        },
    };
    Some(outcome)
}

/// Why there is no answer.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        // What the end of a socket's patience is called, too.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "time is up".to_owned(),
        _ => error.to_string(),
    }
}

fn one_line(answer: &Message) -> String {
    let text = format!("{answer:?}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
