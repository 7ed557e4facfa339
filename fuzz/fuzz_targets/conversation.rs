//! Queries that are made to be understood, a few in a row: hosts, roles,
//! environments, IDs, leaving, services, with EDNS options and good cookies,
//! other opcodes and sections, and a few octets changed at the end. An ID, once
//! told, must stay its host's, also when the service starts again. The service
//! goes on from one conversation to the next, and begins empty when it has many
//! peers, since to make one takes far longer than to ask it.

#![no_main]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use arbitrary::Arbitrary;
use hickory_proto::{
    op::Message,
    rr::{Name, RData},
};
use libfuzzer_sys::fuzz_target;
use param_daemon::{
    server::policy::{cookie, source::Source},
    zone::{Form, PeerRef, QueryName},
};
use param_daemon_fuzz::{
    law,
    service::{Memory, Service, source},
    zones,
};

/// What more steps than these would find, fewer find as well.
const MOST_STEPS: usize = 12;

/// More peers than that make the service begin empty.
const MOST_PEERS: usize = 128;

const WORDS: [&str; 20] = [
    "_env",
    "_leave",
    "_tcp",
    "_grpc",
    "_rest",
    "_peers",
    "ns",
    "dns",
    "*",
    "alias",
    "far",
    "circle",
    "out",
    "er",
    "vp01",
    "vp99999999999",
    "mixed",
    "rest",
    "id",
    "server",
];

const TYPES: [u16; 16] = [
    16, 33, 1, 28, 6, 2, 255, 252, 251, 5, 15, 13, 41, 250, 249, 0,
];

#[derive(Debug, Arbitrary)]
struct Step<'a> {
    source: u8,
    id: u16,
    flags: u16,
    name: Spelled<'a>,
    rtype: u8,
    class: Class,
    records: Vec<Extra<'a>>,
    edns: Option<Options<'a>>,
    changes: [(u16, u8); 3],
    /// How many of those are made: few, since most of them end in FORMERR.
    change: u8,
}

#[derive(Debug, Arbitrary)]
struct Spelled<'a> {
    zone: u8,
    labels: Vec<Label<'a>>,
    /// Which letters are large.
    case: u32,
}

#[derive(Debug, Arbitrary)]
enum Label<'a> {
    Host(u8),
    Word(u8),
    Id(u8),
    Octets(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Class {
    Internet,
    Chaos,
    Any(u16),
}

/// A record of another section: of an update, a transfer, a signature.
#[derive(Debug, Arbitrary)]
struct Extra<'a> {
    section: u8,
    /// Whether it has the question's name.
    same_name: bool,
    rtype: u8,
    class: u16,
    ttl: u32,
    data: Content<'a>,
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Serial(u32),
    Octets(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Options<'a> {
    payload: u16,
    version: Option<u8>,
    cookie: Cookie<'a>,
    subnet: Option<(Ipv4Addr, u8, u8)>,
    nsid: bool,
    other: Option<(u16, &'a [u8])>,
}

#[derive(Debug, Arbitrary)]
enum Cookie<'a> {
    None,
    Client([u8; 8]),
    Good([u8; 8]),
    Octets(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Conversation<'a> {
    /// Seldom enough: starts the service again first.
    restart: u8,
    steps: Vec<Step<'a>>,
}

/// A service, and what it has told so far.
struct Kept {
    service: Service,
    store: Memory,
    ids: Ids,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

fuzz_target!(|conversation: Conversation<'_>| {
    KEPT.with_borrow_mut(|place| {
        let mut kept = place.take().unwrap_or_else(Kept::empty);
        if conversation.restart == u8::MAX {
            kept = kept.restarted();
        }
        for step in conversation.steps.iter().take(MOST_STEPS) {
            let source = source(step.source);
            let packet = step.packet(&kept.service, source);
            if let Some(reply) = law::ask(&kept.service, &packet, source) {
                kept.ids.hear(&kept.service, &reply);
            }
        }
        let peers = kept.service.zones.iter().map(|zone| zone.network().len());
        match peers.max() > Some(MOST_PEERS) {
            true => kept.service.stop(),
            false => *place = Some(kept),
        }
    });
});

impl Kept {
    fn empty() -> Self {
        let store = Memory::default();
        Self {
            service: Service::start(zones::small(), &store),
            store,
            ids: Ids::default(),
        }
    }

    fn restarted(self) -> Self {
        let before = registrations(&self.service);
        self.service.stop();
        let service = Service::start(zones::small(), &self.store);
        assert_eq!(registrations(&service), before);
        Self { service, ..self }
    }
}

fn registrations(service: &Service) -> BTreeSet<String> {
    let zones = service.zones.iter();
    let all = zones.flat_map(|zone| zone.contents().registrations);
    all.map(|registration| format!("{registration:?}"))
        .collect()
}

/// Which ID each host was told. No lease runs out while a conversation lasts,
/// so none ever changes.
#[derive(Default)]
struct Ids {
    by_host: BTreeMap<(usize, String), String>,
    by_id: BTreeMap<(usize, String), String>,
}

impl Ids {
    fn hear(&mut self, service: &Service, reply: &Message) {
        for record in &reply.answers {
            let RData::TXT(txt) = &record.data else {
                continue;
            };
            let first = txt.txt_data.first().map(|it| String::from_utf8_lossy(it));
            let Some(id) = first.as_deref().and_then(|it| it.strip_prefix("id=")) else {
                continue;
            };
            if let Some((zone, host)) = host_of(service, &record.name) {
                let told = self.by_host.entry((zone, host.clone()));
                assert_eq!(told.or_insert(id.to_owned()), id, "{host} has another ID");
                let holder = self.by_id.entry((zone, id.to_owned()));
                assert_eq!(*holder.or_insert(host.clone()), host, "{id} has two hosts");
            }
        }
    }
}

/// The zone's place and the host that the name is.
fn host_of(service: &Service, name: &Name) -> Option<(usize, String)> {
    let (place, zone) = service.zone_of(name)?;
    match zone.parse(name) {
        QueryName::Peer {
            peer: PeerRef::Host { host, .. },
            form: Form::Plain,
        } => Some((place, host.to_string())),
        _ => None,
    }
}

impl Step<'_> {
    fn packet(&self, service: &Service, source: Source) -> Vec<u8> {
        let mut sections: [Vec<u8>; 3] = Default::default();
        let mut counts = [0u16; 3];
        for extra in self.records.iter().take(3) {
            let section = usize::from(extra.section) % 3;
            extra.write(&mut sections[section]);
            counts[section] += 1;
        }
        if let Some(options) = &self.edns {
            options.write(&mut sections[2], service, source);
            counts[2] += 1;
        }
        let mut packet = Vec::new();
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.flags.to_be_bytes());
        packet.extend(1u16.to_be_bytes());
        packet.extend(counts.map(u16::to_be_bytes).concat());
        self.name.write(&mut packet, service);
        packet.extend(record_type(self.rtype).to_be_bytes());
        let class: u16 = match self.class {
            Class::Internet => 1,
            Class::Chaos => 3,
            Class::Any(class) => class,
        };
        packet.extend(class.to_be_bytes());
        packet.extend(sections.concat());
        for (place, change) in self.changes.iter().take(usize::from(self.change >> 6)) {
            let place = usize::from(*place) % packet.len();
            packet[place] ^= change;
        }
        packet
    }
}

fn record_type(choice: u8) -> u16 {
    match TYPES.get(usize::from(choice % 20)) {
        Some(known) => *known,
        None => u16::from(choice),
    }
}

impl Spelled<'_> {
    fn write(&self, packet: &mut Vec<u8>, service: &Service) {
        let mut case = self.case;
        let mut write = |label: &[u8]| {
            let label = &label[..label.len().min(63)];
            packet.push(label.len() as u8);
            packet.extend(label.iter().map(|octet| {
                case = case.rotate_left(1);
                octet
                    ^ if octet.is_ascii_alphabetic() {
                        (case & 1) as u8 * 0x20
                    } else {
                        0
                    }
            }));
        };
        for label in self.labels.iter().take(4) {
            match label {
                Label::Host(number) => write(format!("host-{}", number % 8).as_bytes()),
                Label::Word(word) => write(WORDS[usize::from(*word) % WORDS.len()].as_bytes()),
                Label::Id(number) if number & 0x80 == 0 => write(format!("vp{number}").as_bytes()),
                Label::Id(number) => write(format!("nvp{}", number & 0x7f).as_bytes()),
                // An empty label would end the name.
                Label::Octets([]) => {}
                Label::Octets(octets) => write(octets),
            }
        }
        if let Some(published) = service.zones.get(usize::from(self.zone & 3)) {
            published.zone.origin.iter().for_each(&mut write);
        }
        packet.push(0);
    }
}

impl Extra<'_> {
    fn write(&self, section: &mut Vec<u8>) {
        match self.same_name {
            true => section.extend([0xc0, 12]),
            false => section.push(0),
        }
        section.extend(record_type(self.rtype).to_be_bytes());
        section.extend(self.class.to_be_bytes());
        section.extend(self.ttl.to_be_bytes());
        let data = match self.data {
            Content::Serial(serial) => {
                let mut soa = vec![0, 0];
                soa.extend(serial.to_be_bytes());
                soa.extend([0; 16]);
                soa
            }
            Content::Octets(octets) => octets.to_vec(),
        };
        section.extend((data.len() as u16).to_be_bytes());
        section.extend(data);
    }
}

impl Options<'_> {
    fn write(&self, section: &mut Vec<u8>, service: &Service, source: Source) {
        let mut options = Vec::new();
        let mut option = |code: u16, value: &[u8]| {
            options.extend(code.to_be_bytes());
            options.extend((value.len() as u16).to_be_bytes());
            options.extend(value);
        };
        match self.cookie {
            Cookie::None => {}
            Cookie::Client(client) => option(10, &client),
            Cookie::Good(client) => {
                let made = service
                    .cookies
                    .snapshot(cookie::now())
                    .server(&client, source.ip);
                option(10, &[&client[..], &made].concat());
            }
            Cookie::Octets(octets) => option(10, octets),
        }
        if let Some((address, prefix, scope)) = self.subnet {
            let octets = usize::from(prefix).div_ceil(8).min(4);
            let head = [0, 1, prefix, scope];
            option(8, &[&head[..], &address.octets()[..octets]].concat());
        }
        if self.nsid {
            option(3, &[]);
        }
        if let Some((code, value)) = self.other {
            option(code, value);
        }
        section.extend([0, 0, 41]);
        section.extend(self.payload.to_be_bytes());
        section.extend([0, self.version.unwrap_or(0), 0, 0]);
        section.extend((options.len() as u16).to_be_bytes());
        section.extend(options);
    }
}
