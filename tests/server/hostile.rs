//! Packets from strangers: the service stays available, and its memory does not
//! grow.

use std::{collections::BTreeMap, fs, net::UdpSocket, time::Duration};

use crate::common::{self, Service, shipped_zones, socket, txt_query};
use hickory_proto::op::{Message, ResponseCode};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

const O: &str = "pbft.fabric.internal";

/// Sends packets, a window of them at a time, and counts the codes of the
/// responses.
fn send(
    socket: &UdpSocket,
    service: &Service,
    packets: u32,
    mut packet: impl FnMut(u32) -> Vec<u8>,
) -> BTreeMap<String, u32> {
    const WINDOW: u32 = 128;
    let mut codes = BTreeMap::new();
    let mut buffer = [0; 4096];
    let mut sent = 0;
    while sent < packets {
        let window = WINDOW.min(packets - sent);
        for _ in 0..window {
            socket.send_to(&packet(sent), service.address).unwrap();
            sent += 1;
        }
        for _ in 0..window {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let code = ResponseCode::from_low(buffer[3] & 0xf);
                    assert!(length >= 12);
                    *codes.entry(code.to_string()).or_default() += 1;
                }
                // A packet was lost: continue with the next window.
                Err(_) => break,
            }
        }
    }
    codes
}

#[test]
fn a_million_queries_that_are_refused_take_no_memory() {
    let shipped = fs::read_to_string(shipped_zones().join("pbft.toml")).unwrap();
    // The queries may last longer than the shipped lease.
    let zone = shipped.replace("lease = \"30s\"", "lease = \"1h\"");
    let zones = common::zones(&[("pbft.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    for host in ["a", "b", "c", "d"] {
        service.value(&format!("{host}.{O}"), "id").unwrap();
    }
    let packet = |number: u32| {
        let name = match number % 10 {
            // Refused: the network is full, and each of these hosts is new.
            0 => format!("new-{number}.{O}"),
            1 => format!("_env.new-{number}.{O}"),
            2 => format!("a.rest.{O}"),
            3 => format!("_leave.gone-{number}.{O}"),
            // Unknown.
            4 => format!("vp{}.{O}", 4 + number),
            5 => format!("x.y{number}.z.{O}"),
            // Invalid.
            6 => format!("no+host-{number}.{O}"),
            // In none of the zones.
            7 => format!("name-{number}.example"),
            // An address that no peer can have.
            8 => return txt_query(number as u16, &format!("m-{number}.{O}"), Some("224.0.0.1")),
            // Truncated.
            _ => {
                let mut packet = txt_query(number as u16, &format!("cut-{number}.{O}"), None);
                packet.truncate(30);
                return packet;
            }
        };
        txt_query(number as u16, &name, None)
    };
    let socket = socket();
    send(&socket, &service, 100_000, packet);
    let before = service.resident();
    let codes = send(&socket, &service, 1_000_000, packet);
    let after = service.resident();
    let answered: u32 = codes.values().sum();
    assert!(answered > 990_000, "{codes:?}");
    assert_eq!(codes.get("No Error"), None, "{codes:?}");
    assert!(
        after <= before + 2_048,
        "{before} kB before, {after} kB after"
    );
    let apex = service.short(&["TXT", O]);
    assert_eq!(apex, [r#""n=4" "f=1" "peers=4" "live=4""#]);
}

#[test]
fn no_packet_stops_the_service() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    let socket = socket();
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let patient = common::socket();
    let good = txt_query(1, &format!("a.{O}"), Some("10.0.0.1"));
    let length = good.len();
    let octets = || prop::collection::vec(any::<u8>(), 0..200);
    let changes = prop::collection::vec((0..length, any::<u8>()), 1..8);
    let packets = prop_oneof![
        octets(),
        // A valid header, followed by random octets.
        octets().prop_map(|tail| [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1][..], &tail].concat()),
        // A valid query with some octets changed, truncated or extended.
        (changes, 0..length, octets()).prop_map(move |(changes, cut, tail)| {
            let mut packet = good.clone();
            for (place, octet) in changes {
                packet[place] = octet;
            }
            if cut % 3 == 0 {
                packet.truncate(cut);
            }
            if cut % 5 == 0 {
                packet.extend(tail);
            }
            packet
        }),
    ];
    let config = Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&packets, |packet| {
            let mut buffer = [0; 4096];
            socket.send_to(&packet, service.address).unwrap();
            // Every response can be parsed.
            if let Ok(length) = socket.recv(&mut buffer) {
                prop_assert!(Message::from_vec(&buffer[..length]).is_ok());
            }
            // A valid query is still answered.
            let query = txt_query(4_711, O, None);
            patient.send_to(&query, service.address).unwrap();
            let length = patient.recv(&mut buffer).unwrap();
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            prop_assert_eq!(reply.metadata.id, 4_711);
            prop_assert_eq!(reply.answers.len(), 1);
            Ok(())
        })
        .unwrap();
    assert!(service.short(&["TXT", O])[0].contains("peers="));
    assert_eq!(service.terminate(), Some(0));
}

/// The names of a zone: whatever the labels are, the service answers with a
/// documented code, and registers only host names.
#[test]
fn only_host_names_register() {
    let zones = common::zones(&[("t.toml", &common::simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let socket = socket();
    let label = "[a-zA-Z0-9_*+/-]{1,12}|vp[0-9]{1,3}|_env|_leave|_tcp|mixed|dns|ns|_grpc|_peers";
    let names = prop::collection::vec(label, 1..4);
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&names, |labels| {
            let name = format!("{}.test.internal", labels.join("."));
            socket
                .send_to(&txt_query(9, &name, None), service.address)
                .unwrap();
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap();
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            let registered = common::strings_of(&reply)
                .iter()
                .any(|string| string.starts_with("id=") || string.starts_with("CORE_PEER_"));
            let lower: Vec<String> = labels
                .iter()
                .map(|label| label.to_ascii_lowercase())
                .collect();
            let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
            let is_host = |label: &str| {
                let id = label.strip_prefix("vp").is_some_and(|digits| {
                    digits.bytes().all(|c| c.is_ascii_digit()) && !digits.is_empty()
                });
                label.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && label
                        .bytes()
                        .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
                    && label != "mixed"
                    && !id
            };
            let may = match lower.as_slice() {
                [host] | [host, "mixed"] | ["_env", host] | ["_env", host, "mixed"] => {
                    is_host(host)
                }
                _ => false,
            };
            let is_known_id =
                matches!(lower.as_slice(), [id] | ["_env", id] if id.starts_with("vp"));
            prop_assert!(registered == may || (registered && is_known_id), "{}", name);
            Ok(())
        })
        .unwrap();
}
