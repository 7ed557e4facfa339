//! Questions of any kind, and the packets that ask them.

use std::net::{IpAddr, SocketAddr};

use param_daemon::server::{
    policy::cookie::Cookies,
    policy::source::{Source, Transport},
};
use proptest::prelude::*;

use super::service::ZONE;

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
    let environment = prop::bool::weighted(0.2);
    (environment, labels, origin).prop_map(|(environment, labels, origin)| {
        let environment = environment.then_some("_Env");
        let labels = environment.into_iter().chain(labels);
        wire(labels.chain(origin.split('.')))
    })
}

/// A name as it stands in a packet.
pub fn wire<'t>(labels: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let labels = labels.into_iter().filter(|label| !label.is_empty());
    let wire = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    wire.chain([0]).collect()
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
pub struct Edns {
    pub payload: u16,
    pub version: u8,
    pub flags: u16,
    pub options: Vec<(u16, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub struct Question {
    pub id: u16,
    pub flags: [u8; 2],
    pub name: Vec<u8>,
    pub rtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
    pub source: &'static str,
    pub transport: Transport,
    /// Octets that are changed, and how many are cut off or added at the end.
    pub changes: Vec<(u16, u8)>,
    pub tail: i8,
}

pub fn questions() -> impl Strategy<Value = Question> {
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

/// Most of them about hosts that nobody knows, in a zone that is full and in one
/// that never is.
pub fn newcomers() -> impl Strategy<Value = Question> {
    let origin = prop_oneof![1 => Just(ZONE), 3 => Just("noops.fabric.internal")];
    const ROLES: [&str; 7] = ["", "", "mixed", "Validator", "rest", "none", "vp0"];
    let name = (any::<u16>(), prop::sample::select(&ROLES[..]), origin);
    let name = name.prop_map(|(host, role, origin)| format!("H-{host}.{role}.{origin}"));
    let name = prop::option::weighted(0.9, name);
    (questions(), name, any::<bool>()).prop_map(|(mut question, name, is_plain)| {
        question.transport = Transport::Udp;
        if is_plain {
            question = Question {
                flags: [1, 0],
                rtype: 16,
                class: 1,
                edns: None,
                source: "127.0.0.1",
                changes: Vec::new(),
                tail: 0,
                ..question
            };
        }
        if let Some(name) = name {
            question.name = wire(name.split('.'));
        }
        question
    })
}

impl Question {
    pub fn packet(&self, cookies: &Cookies) -> (Vec<u8>, Source) {
        let ip: IpAddr = self.source.parse().unwrap();
        let source = Source::new(SocketAddr::new(ip, 5_353), self.transport, ip);
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
                    let now = param_daemon::server::policy::cookie::now();
                    [
                        &[9; 8][..],
                        &cookies.snapshot(now).server(&[9; 8], source.ip),
                    ]
                    .concat()
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
