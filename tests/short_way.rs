//! The short way of a query says what the long one says, whatever the packet,
//! and where it leaves a query to that one it has changed nothing.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

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
        cookie::Cookies,
        handler::{Handler, Outcome},
        limits::{Allowed, Limits},
        short::Short,
        source::{Source, Transport},
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

    fn commit(&mut self, _writes: &[Write]) -> Result<(), StoreError> {
        Ok(())
    }
}

const ZONE: &str = "pbft.fabric.internal";

/// Each host, where it asks from, and the address that it states.
const HOSTS: [(&str, &str, &str); 4] = [
    ("peer-1", "127.0.0.1", "127.0.0.1"),
    ("peer_2", "10.0.0.2", "10.0.1.2"),
    ("3", "fd00::3", "fd00::33"),
    ("gone", "10.0.0.4", "10.0.0.4"),
];

struct Both {
    runtime: Runtime,
    handler: Handler,
    cookies: Arc<Cookies>,
}

impl Both {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let zones = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones");
        let zones = zone::read_directory(&zones).unwrap();
        let clock = Clock::start();
        let (registry, _end) = Registry::start(zones, Box::new(Nowhere), clock).unwrap();
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
        let limits = Limits::new(&Allowed {
            responses_per_second: 0,
            ..Allowed::default()
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

    fn long(&self, packet: &[u8], source: Source) -> Option<Vec<u8>> {
        match self.handler.handle(packet, source) {
            Outcome::Silence | Outcome::Transfer(_) => None,
            Outcome::Reply(reply) => Some(reply),
            Outcome::Later(later) => self.runtime.block_on(later),
        }
    }

    /// Compares the two ways; says whether the short one answered.
    fn compare(&self, packet: &[u8], source: Source) -> Result<bool, TestCaseError> {
        let mut short_way = self.handler.short_way();
        short_way.refresh();
        let mut short = Vec::new();
        match short_way.answer(packet, source, &mut short) {
            Short::Long => {
                prop_assert!(short.is_empty());
                return Ok(false);
            }
            Short::Silence => {
                prop_assert!(short.is_empty());
                prop_assert_eq!(self.long(packet, source), None);
                return Ok(true);
            }
            Short::Reply => {}
        }
        let long = self.long(packet, source);
        let long = long.ok_or_else(|| TestCaseError::fail("the long way says nothing"))?;
        let (short, long) = (meaning(&short)?, meaning(&long)?);
        prop_assert_eq!(short, long);
        Ok(true)
    }
}

/// What a message says: all of it but the order of the options, and of the
/// server's cookie no more than that there is one.
fn meaning(octets: &[u8]) -> Result<(Message, Vec<u8>, BTreeSet<String>), TestCaseError> {
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

fn names() -> impl Strategy<Value = Vec<u8>> {
    let labels = prop_oneof![
        Just("peer-1"),
        Just("PEER-1"),
        Just("peer_2"),
        Just("Peer_2"),
        Just("3"),
        Just("gone"),
        Just("vp0"),
        Just("VP1"),
        Just("vp2"),
        Just("vp3"),
        Just("vp4"),
        Just("vp00"),
        Just("nvp0"),
        Just("mixed"),
        Just("validator"),
        Just("_env"),
        Just("_leave"),
        Just("_grpc"),
        Just("_tcp"),
        Just("new"),
        Just("ns"),
        Just("dns"),
        Just(""),
        Just("x"),
        Just("*"),
        Just("pe\u{e9}r"),
    ];
    let origin = prop_oneof![
        8 => Just(ZONE), 1 => Just("PBFT.Fabric.Internal"), 1 => Just("noops.fabric.internal"),
        1 => Just("fabric.internal"), 1 => Just("xpbft.fabric.internal"),
    ];
    let registered = prop::sample::select(&["peer-1", "PEER_2", "3", "gone", "vp0", "Vp2"][..]);
    let labels = prop_oneof![
        2 => registered.prop_map(|label| vec![label]),
        1 => prop::collection::vec(labels, 0..4),
    ];
    (labels, origin).prop_map(|(labels, origin)| {
        let labels = labels.into_iter().chain(origin.split('.'));
        let labels = labels.filter(|label| !label.is_empty());
        let wire = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        wire.chain([0]).collect()
    })
}

fn subnets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0, 1, 32, 0, 127, 0, 0, 1]),
        Just(vec![0, 1, 32, 0, 10, 0, 1, 2]),
        Just(vec![0, 1, 32, 0, 10, 0, 0, 4]),
        Just(vec![0, 1, 24, 0, 10, 0, 1]),
        Just(vec![0, 1, 0, 0]),
        Just(vec![0, 1, 32, 0, 224, 0, 0, 1]),
        Just(vec![0, 1, 32, 0, 0, 0, 0, 0]),
        Just(vec![0, 1, 24, 0, 10, 0, 1, 2]),
        Just(vec![0, 1, 20, 0, 10, 0, 0xff]),
        Just(vec![0, 1, 32, 1, 10, 0, 1, 2]),
        Just([&[0, 2, 128, 0, 0xfd, 0][..], &[0; 13], &[0x33]].concat()),
        prop::collection::vec(any::<u8>(), 0..24),
    ]
}

/// Options of which the cookie is completed when the source is known: `None`
/// stands for a good one.
fn options() -> impl Strategy<Value = Vec<(u16, Option<Vec<u8>>)>> {
    let octets = |length: usize| prop::collection::vec(any::<u8>(), length);
    let option = prop_oneof![
        4 => subnets().prop_map(|data| (8, Some(data))),
        4 => Just((10, None)),
        1 => octets(8).prop_map(|data| (10, Some(data))),
        1 => octets(24).prop_map(|data| (10, Some(data))),
        1 => (0usize..48).prop_flat_map(octets).prop_map(|data| (10, Some(data))),
        1 => (any::<u16>(), octets(3)).prop_map(|(code, data)| (code, Some(data))),
        1 => Just((3, Some(Vec::new()))),
    ];
    prop::collection::vec(option, 0..4)
}

#[derive(Debug, Clone)]
struct Edns {
    payload: u16,
    version: u8,
    flags: u16,
    options: Vec<(u16, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
struct Question {
    id: u16,
    flags: [u8; 2],
    name: Vec<u8>,
    rtype: u16,
    class: u16,
    edns: Option<Edns>,
    source: &'static str,
    transport: Transport,
    /// Octets that are changed, and how many are cut off or added at the end.
    changes: Vec<(u16, u8)>,
    tail: i8,
}

fn questions() -> impl Strategy<Value = Question> {
    let flags = prop_oneof![
        8 => Just([1, 0]), 2 => Just([0, 0]), 2 => Just([1, 0x30]), 1 => any::<[u8; 2]>(),
    ];
    let rtype = prop_oneof![
        6 => Just(16u16), 4 => Just(33), 3 => Just(1), 2 => Just(28), 1 => Just(255), 1 => Just(6),
        1 => any::<u16>(),
    ];
    let class = prop_oneof![20 => Just(1u16), 1 => any::<u16>()];
    let payload =
        prop_oneof![4 => Just(1_232u16), 1 => Just(512), 1 => Just(4_096), 1 => any::<u16>()];
    let version = prop_oneof![20 => Just(0u8), 1 => any::<u8>()];
    let edns_flags = prop_oneof![4 => Just(0u16), 1 => Just(0x8000), 1 => any::<u16>()];
    let edns =
        (payload, version, edns_flags, options()).prop_map(|(payload, version, flags, options)| {
            Edns {
                payload,
                version,
                flags,
                options,
            }
        });
    const SOURCES: [&str; 7] = [
        "127.0.0.1",
        "10.0.0.2",
        "10.0.0.4",
        "10.0.0.9",
        "fd00::3",
        "8.8.8.8",
        "::ffff:10.0.0.2",
    ];
    let transport = prop_oneof![3 => Just(Transport::Udp), 1 => Just(Transport::Tcp)];
    let changes = prop_oneof![
        6 => Just(Vec::new()),
        1 => prop::collection::vec((any::<u16>(), any::<u8>()), 1..4),
    ];
    let tail = prop_oneof![12 => Just(0i8), 1 => -20i8..20];
    (
        (any::<u16>(), flags, names(), rtype, class),
        prop::option::weighted(0.8, edns),
        prop::sample::select(&SOURCES[..]),
        (transport, changes, tail),
    )
        .prop_map(
            |((id, flags, name, rtype, class), edns, source, (transport, changes, tail))| {
                Question {
                    id,
                    flags,
                    name,
                    rtype,
                    class,
                    edns,
                    source,
                    transport,
                    changes,
                    tail,
                }
            },
        )
}

impl Question {
    fn packet(&self, cookies: &Cookies) -> (Vec<u8>, Source) {
        let ip: IpAddr = self.source.parse().unwrap();
        let source = Source::new(SocketAddr::new(ip, 5_353), self.transport);
        let mut packet = self.id.to_be_bytes().to_vec();
        packet.extend(self.flags);
        packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        packet.extend(&self.name);
        packet.extend(self.rtype.to_be_bytes());
        packet.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            packet.extend([0, 0, 41]);
            packet.extend(edns.payload.to_be_bytes());
            packet.extend([0, edns.version]);
            packet.extend(edns.flags.to_be_bytes());
            let option = |(code, data): &(u16, Option<Vec<u8>>)| {
                let data = data.clone().unwrap_or_else(|| {
                    let now = param_daemon::server::cookie::now();
                    [&[9; 8][..], &cookies.server(&[9; 8], source.ip(), now)].concat()
                });
                [
                    &code.to_be_bytes()[..],
                    &(data.len() as u16).to_be_bytes(),
                    &data,
                ]
                .concat()
            };
            let options: Vec<u8> = edns.options.iter().flat_map(option).collect();
            packet.extend((options.len() as u16).to_be_bytes());
            packet.extend(options);
        }
        for (place, octet) in &self.changes {
            let place = usize::from(*place) % packet.len();
            packet[place] = *octet;
        }
        match usize::try_from(self.tail) {
            Ok(more) => packet.extend(vec![0; more]),
            Err(_) => packet.truncate(packet.len() - usize::from(self.tail.unsigned_abs())),
        }
        (packet, source)
    }
}

#[test]
fn both_ways_say_the_same() {
    let both = Both::new();
    let answered = std::cell::Cell::new(0u32);
    let cases = 20_000;
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&questions(), |question| {
            let (packet, source) = question.packet(&both.cookies);
            let short = both.compare(&packet, source)?;
            answered.set(answered.get() + u32::from(short));
            Ok(())
        })
        .unwrap();
    // Otherwise nothing was compared.
    assert!(answered.get() > cases / 20, "{}", answered.get());
}

#[test]
fn heartbeats_and_reads_take_the_short_way() {
    let both = Both::new();
    let edns = |options: Vec<(u16, Option<Vec<u8>>)>| {
        Some(Edns {
            payload: 1_232,
            version: 0,
            flags: 0,
            options,
        })
    };
    let stated = |octets: [u8; 4]| (8, Some([&[0, 1, 32, 0][..], &octets].concat()));
    for (name, rtype, edns, source) in [
        ("peer-1", 16, None, "127.0.0.1"),
        ("peer-1", 33, edns(vec![]), "127.0.0.1"),
        (
            "peer-1.mixed",
            16,
            edns(vec![stated([127, 0, 0, 1])]),
            "127.0.0.1",
        ),
        (
            "peer_2",
            16,
            edns(vec![(10, None), stated([10, 0, 1, 2])]),
            "10.0.0.2",
        ),
        ("peer_2", 16, edns(vec![(10, None)]), "10.0.0.9"),
        ("peer_2", 1, None, "10.0.0.9"),
        ("VP1", 16, edns(vec![(10, Some(vec![1; 8]))]), "10.0.0.9"),
        ("vp0", 33, None, "8.8.8.8"),
        ("vp2", 28, None, "fd00::3"),
    ] {
        let labels = name.split('.').chain(ZONE.split('.'));
        let wire = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        let question = Question {
            id: 1,
            flags: [1, 0],
            name: wire.chain([0]).collect(),
            rtype,
            class: 1,
            edns,
            source,
            transport: Transport::Udp,
            changes: vec![],
            tail: 0,
        };
        let (packet, source) = question.packet(&both.cookies);
        assert!(both.compare(&packet, source).unwrap(), "{name} {rtype}");
    }
}

#[test]
fn a_heartbeat_on_the_short_way_renews_the_lease() {
    let both = Both::new();
    let question = Question {
        id: 1,
        flags: [1, 0],
        name: [&b"\x06peer-1\x04pbft\x06fabric\x08internal"[..], &[0]].concat(),
        rtype: 16,
        class: 1,
        edns: None,
        source: "127.0.0.1",
        transport: Transport::Udp,
        changes: vec![],
        tail: 0,
    };
    let heard = || {
        let published = both.handler.zones();
        let peers = published.iter().flat_map(|zone| {
            let network = zone.network();
            let host = network.host_named("peer-1");
            host.map(|peer| peer.lease.heard())
        });
        peers.max().unwrap()
    };
    let before = heard();
    std::thread::sleep(Duration::from_millis(20));
    let (packet, source) = question.packet(&both.cookies);
    let mut short_way = both.handler.short_way();
    short_way.refresh();
    let mut reply = Vec::new();
    assert_eq!(short_way.answer(&packet, source, &mut reply), Short::Reply);
    let renewed = heard();
    assert!(renewed > before);
    // A neighbour's question is answered, and renews nothing.
    std::thread::sleep(Duration::from_millis(20));
    let elsewhere = Source::new("127.0.0.2:5353".parse().unwrap(), Transport::Udp);
    short_way.refresh();
    reply.clear();
    assert_eq!(
        short_way.answer(&packet, elsewhere, &mut reply),
        Short::Reply
    );
    assert_eq!(heard(), renewed);
}
