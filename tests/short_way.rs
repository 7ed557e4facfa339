//! The short way of a query says what the long one says, whatever the packet,
//! and where it leaves a query to that one it has changed nothing. The same of
//! queries that wait for the registry.

#[path = "short_way/questions.rs"]
mod questions;
#[path = "short_way/service.rs"]
mod service;

use std::time::Duration;

use param_daemon::{
    server::{
        policy::source::{Source, Transport},
        query::fast::FastOutcome,
    },
    zone::Ready,
};
use proptest::prelude::*;

use questions::{Edns, Question, newcomers, questions};
use service::{Both, ZONE};

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
fn heartbeats_and_reads_take_the_fast_path() {
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

/// Where two hosts have one hash, the map gives either of them.
#[test]
fn a_host_is_told_from_another_that_was_found_in_its_place() {
    let both = Both::new();
    let mut zones = both.handler.registry().zones().iter();
    let published = zones.find(|published| published.zone.to_string() == ZONE);
    let published = published.unwrap();
    let ready = Ready::new(published.zone.clone(), published.network());
    let hosts = ["peer-1", "PEER_2", "3", "nobody"];
    for host in hosts {
        let name = ready.name(host.as_bytes(), None).unwrap();
        for found in hosts {
            let found = ready.name(found.as_bytes(), None).unwrap();
            let Some(found) = ready.find(&found) else {
                continue;
            };
            let called = ready.called(&name, &found);
            let called = called.and_then(|called| called.host());
            let expected = (host != "nobody").then(|| host.to_lowercase());
            let called = called.map(|peer| peer.host.to_string());
            assert_eq!(called, expected);
        }
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
        let published = both.handler.registry().zones();
        let peers = published.iter().flat_map(|zone| {
            let network = zone.network();
            let host = network.host(&"peer-1".parse().unwrap());
            host.map(|peer| peer.lease.heard())
        });
        peers.max().unwrap()
    };
    let before = heard();
    std::thread::sleep(Duration::from_millis(20));
    let (packet, source) = question.packet(&both.cookies);
    let mut short_way = both.handler.fast_path();
    short_way.refresh();
    let mut reply = Vec::new();
    assert_eq!(
        short_way.answer(&packet, source, &mut reply),
        FastOutcome::Reply
    );
    let renewed = heard();
    assert!(renewed > before);
    // A neighbour's question is answered, and renews nothing.
    std::thread::sleep(Duration::from_millis(20));
    let address: std::net::SocketAddr = "127.0.0.2:5353".parse().unwrap();
    let elsewhere = Source::new(address, Transport::Udp, address.ip());
    short_way.refresh();
    reply.clear();
    assert_eq!(
        short_way.answer(&packet, elsewhere, &mut reply),
        FastOutcome::Reply
    );
    assert_eq!(heard(), renewed);
}

/// Two services are asked the same questions, one by packets that wait for the
/// registry and the other by the long way, and say the same.
#[test]
fn what_waits_is_answered_like_the_long_way() {
    let (late, long) = (Both::new(), Both::new());
    let mut seen = [0u32; 3];
    let cases = 4_000;
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let seen_cell = std::cell::RefCell::new(&mut seen);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&newcomers(), |question| {
            let (packet, source) = question.packet(&late.cookies);
            let kind = late.compare_late(&long, &packet, source)?;
            seen_cell.borrow_mut()[kind as usize] += 1;
            Ok(())
        })
        .unwrap();
    let [not_asked, granted, denied] = seen;
    assert!(
        granted > 20 && denied > 20,
        "{not_asked} {granted} {denied}"
    );
}
