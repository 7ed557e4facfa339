//! Whatever is asked, the reply is one that hickory's decoder reads, and it is the
//! same whichever way the packet came.

mod questions;
mod service;

use std::{cell::Cell, net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::rdata::opt::EdnsCode,
};
use param_daemon::server::policy::source::{Source, Transport};
use proptest::prelude::*;

use questions::{Edns, Question, newcomers, questions, wire};
use service::{Service, ZONE, meaning};

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

/// A reply belongs to its query, has room, and says the same to a packet alone and in
/// a batch.
#[test]
fn any_packet_has_a_sound_reply_or_none() {
    let service = Service::new();
    let answered = Cell::new(0u32);
    let cases = 20_000;
    runner(cases)
        .run(&questions(), |question| {
            let (packet, source) = question.packet(&service.cookies);
            let (reply, waited) = service.ask(&packet, source);
            let is_query = packet.len() >= 12 && packet[2] & 0x80 == 0;
            prop_assert_eq!(reply.is_some(), is_query, "only queries are answered");
            let Some(reply) = reply else {
                return Ok(());
            };
            let (message, question_spelt, _) = meaning(&reply)?;
            prop_assert_eq!(&reply[..2], &packet[..2], "the ID");
            prop_assert_eq!(reply[2] & 0x78, packet[2] & 0x78, "the opcode");
            prop_assert!(!message.metadata.truncation || source.transport == Transport::Udp);
            let most = match (source.transport, &message.edns) {
                (Transport::Tcp | Transport::Tls, _) => 65_535,
                (Transport::Udp, None) => 512,
                (Transport::Udp, Some(_)) => 1_232,
            };
            prop_assert!(reply.len() <= most, "{} of {most} octets", reply.len());
            if !message.queries.is_empty() {
                prop_assert!(packet[12..].starts_with(&question_spelt), "the spelling");
            }
            // What waits changes something, so that it is not the same again.
            if !waited {
                let alone = service.ask_alone(&packet, source);
                let alone = alone.ok_or_else(|| TestCaseError::fail("no reply"))?;
                prop_assert_eq!(meaning(&alone)?, meaning(&reply)?);
                let has_records = message.metadata.response_code == ResponseCode::NoError
                    && !message.answers.is_empty();
                answered.set(answered.get() + u32::from(has_records));
            }
            Ok(())
        })
        .unwrap();
    // Otherwise nothing was compared.
    assert!(answered.get() > cases / 20, "{}", answered.get());
}

fn question(name: &str, rtype: u16, edns: Option<Edns>, source: &'static str) -> Question {
    Question {
        id: 1,
        flags: [1, 0],
        name: wire(name.split('.').chain(ZONE.split('.'))),
        rtype,
        class: 1,
        edns,
        source,
        transport: Transport::Udp,
        changes: vec![],
        tail: 0,
    }
}

fn edns(options: Vec<(u16, Option<Vec<u8>>)>) -> Option<Edns> {
    Some(Edns {
        payload: 1_232,
        version: 0,
        flags: 0,
        options,
    })
}

fn stated(octets: [u8; 4]) -> (u16, Option<Vec<u8>>) {
    (8, Some([&[0, 1, 32, 0][..], &octets].concat()))
}

#[test]
fn heartbeats_and_reads_are_answered_at_once() {
    let service = Service::new();
    for (name, rtype, edns, source, expected) in [
        ("peer-1", 16, None, "127.0.0.1", "id=vp0"),
        ("peer-1", 33, edns(vec![]), "127.0.0.1", "7051"),
        (
            "peer-1.mixed",
            16,
            edns(vec![stated([127, 0, 0, 1])]),
            "127.0.0.1",
            "id=vp0",
        ),
        (
            "peer_2",
            16,
            edns(vec![(10, None), stated([10, 0, 1, 2])]),
            "10.0.0.2",
            "address=10.0.1.2:7051",
        ),
        ("peer_2", 16, edns(vec![(10, None)]), "10.0.0.9", "id=vp1"),
        (
            "_env.peer-1",
            16,
            edns(vec![]),
            "127.0.0.1",
            "CORE_PEER_ID=vp0",
        ),
        ("_ENV.vp1", 16, edns(vec![]), "10.0.0.9", "CORE_PEER_ID=vp1"),
        ("peer_2", 1, None, "10.0.0.9", "10.0.1.2"),
        (
            "VP1",
            16,
            edns(vec![(10, Some(vec![1; 8]))]),
            "10.0.0.9",
            "id=vp1",
        ),
        ("vp0", 33, None, "8.8.8.8", "7051"),
        ("vp2", 28, None, "fd00::3", "fd00::33"),
    ] {
        let mut question = question(name, rtype, edns, source);
        // By UDP an environment has no room.
        if name.starts_with('_') {
            question.transport = Transport::Tcp;
        }
        let (packet, source) = question.packet(&service.cookies);
        let (reply, waited) = service.ask(&packet, source);
        let reply = Message::from_vec(&reply.unwrap()).unwrap();
        let shown = format!("{:?} {}", reply, reply);
        assert!(!waited && reply.metadata.authoritative, "{name} {rtype}");
        assert!(shown.contains(expected), "{name} {rtype}: {shown}");
    }
}

/// The decisions that are made before anything is looked up: by UDP from elsewhere
/// without a cookie, a name that registers gets nothing but a way to prove the source.
#[test]
fn a_source_proves_itself_before_it_registers() {
    let service = Service::new();
    for (options, code, truncated) in [
        (None, ResponseCode::NoError, true),
        (edns(vec![]), ResponseCode::NoError, true),
        (
            edns(vec![(10, Some(vec![1; 8]))]),
            ResponseCode::BADCOOKIE,
            false,
        ),
        (
            edns(vec![(10, Some(vec![1; 9]))]),
            ResponseCode::FormErr,
            false,
        ),
    ] {
        for name in ["peer_2", "_env.peer_2", "nobody"] {
            let question = question(name, 16, options.clone(), "10.0.0.2");
            let (packet, source) = question.packet(&service.cookies);
            let (reply, waited) = service.ask(&packet, source);
            let reply = Message::from_vec(&reply.unwrap()).unwrap();
            assert!(!waited && reply.answers.is_empty());
            assert_eq!(reply.metadata.response_code, code, "{name}");
            assert_eq!(reply.metadata.truncation, truncated, "{name}");
        }
    }
}

/// Where two hosts have one hash, the map gives either of them.
#[test]
fn a_host_is_told_from_another_that_was_found_in_its_place() {
    let service = Service::new();
    let view = service.published(ZONE).view();
    let hosts = ["peer-1", "PEER_2", "3", "nobody"];
    let below = |host: &str| [&[host.len() as u8], host.as_bytes()].concat();
    for host in hosts {
        let label = below(host);
        let name = view.peer_name(&label).unwrap();
        for other in hosts {
            let label = below(other);
            let other = view.peer_name(&label).unwrap();
            let Some(location) = view.locate(&other) else {
                continue;
            };
            let found = view.lookup(&name, &location);
            let found = found.and_then(|found| found.host());
            let expected = (host != "nobody").then(|| host.to_lowercase());
            assert_eq!(found.map(|peer| peer.host.to_string()), expected);
        }
    }
}

#[test]
fn a_heartbeat_renews_the_lease_and_a_neighbours_question_does_not() {
    let service = Service::new();
    let heard = || {
        let network = service.published(ZONE).network();
        network
            .host(&"peer-1".parse().unwrap())
            .unwrap()
            .lease
            .last_heard()
    };
    let asked = |rtype, name| question(name, rtype, None, "127.0.0.1").packet(&service.cookies);
    let mut before = heard();
    for (rtype, name) in [(16, "peer-1"), (33, "peer-1"), (16, "_env.peer-1")] {
        std::thread::sleep(Duration::from_millis(20));
        let (packet, source) = asked(rtype, name);
        assert!(!service.ask(&packet, source).1);
        let renewed = heard();
        assert!(renewed > before, "{name} {rtype}");
        before = renewed;
        std::thread::sleep(Duration::from_millis(20));
        let address: SocketAddr = "127.0.0.2:5353".parse().unwrap();
        let elsewhere = Source::new(address, Transport::Udp, address.ip());
        assert!(!service.ask(&packet, elsewhere).1);
        assert_eq!(heard(), before, "{name} {rtype}");
    }
}

/// What waits for the registry is granted or refused with a reason.
#[test]
fn newcomers_are_told_an_id_or_why_not() {
    let service = Service::new();
    let [granted, denied] = [Cell::new(0u32), Cell::new(0u32)];
    runner(4_000)
        .run(&newcomers(), |question| {
            let (packet, source) = question.packet(&service.cookies);
            let (reply, waited) = service.ask(&packet, source);
            let Some(reply) = reply.filter(|_| waited) else {
                return Ok(());
            };
            let (message, ..) = meaning(&reply)?;
            match message.metadata.response_code {
                ResponseCode::NoError => granted.set(granted.get() + 1),
                ResponseCode::Refused => denied.set(denied.get() + 1),
                // Nobody who is not registered can leave.
                ResponseCode::NXDomain if question.name.starts_with(b"\x06_leave") => {}
                code => return Err(TestCaseError::fail(format!("{code}"))),
            }
            Ok(())
        })
        .unwrap();
    let (granted, denied) = (granted.get(), denied.get());
    assert!(granted > 20 && denied > 20, "{granted} {denied}");
}

/// An option that hickory's parser knows, and a signature, have the same answer.
#[test]
fn a_query_with_an_nsid_option_is_answered_like_one_without() {
    let service = Service::new();
    let mut answers = [vec![], vec![(3, Some(Vec::new()))]].map(|options| {
        let question = question("peer-1", 16, edns(options), "127.0.0.1");
        let (packet, source) = question.packet(&service.cookies);
        let reply = service.ask(&packet, source).0.unwrap();
        let mut message = Message::from_vec(&reply).unwrap();
        if let Some(edns) = &mut message.edns {
            edns.options_mut().remove(EdnsCode::NSID);
        }
        message
    });
    answers[1].edns = answers[0].edns.clone();
    assert_eq!(answers[0], answers[1]);
}
