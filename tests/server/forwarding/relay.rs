//! What is sent to an upstream, and what of its response is returned.

use std::collections::BTreeSet;

use super::{
    Field,
    messages::{POINTER, Parts, opt, opt_of, option, options_of, question, record, text},
    query,
    upstream::Upstream,
};
use crate::common::run;

/// A response of an upstream with records in every section that refer to each
/// other's names, and many flags.
fn rich() -> Parts {
    let mail = [&[0, 10, 4][..], b"mail", &POINTER].concat();
    Parts {
        flags: 1,
        // RA, AD and CD.
        more: 0xb0,
        answers: vec![
            record(&POINTER, 5, 60, &[&[1, b'b'][..], &POINTER].concat()),
            record(&POINTER, 15, 300, &mail),
            // An unknown type.
            record(&POINTER, 65_400, 1, &[0xc0, 0xff, 0xee]),
        ],
        authority: vec![record(&POINTER, 65_401, 0x7fff_ffff, &[7; 40])],
        additional: vec![record(b"\x04mail\xc0\x0c", 1, 5, &[192, 0, 2, 9])],
    }
}

/// The message without its OPT record, which is at its end, and without its ID.
fn without_opt(message: &[u8], opt_octets: usize) -> Vec<u8> {
    let mut message = message[2..message.len() - opt_octets].to_vec();
    message[9] -= 1;
    message
}

#[test]
fn a_reply_arrives_octet_for_octet() {
    let upstream = Upstream::always(|query| rich().reply(query));
    let field = Field::new(&[upstream.address]);
    let query = query("rIch.eXample", [1, 0x10], Some((0x80, &[])));
    let expected = without_opt(&rich().reply(&query), 11);
    for reply in [field.by_udp(&query), field.by_tcp(&query)] {
        assert_eq!(reply[..2], query[..2]);
        assert_eq!(without_opt(&reply, 11), expected);
        // The service's own: 1232 octets, DO.
        let opt = &reply[reply.len() - 11..];
        assert_eq!(opt, [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    }
}

#[test]
fn a_client_without_edns_gets_none() {
    let upstream = Upstream::always(|query| rich().reply(query));
    let field = Field::new(&[upstream.address]);
    let query = query("rIch.eXample", [1, 0], None);
    let expected = rich().message(&query);
    for reply in [field.by_udp(&query), field.by_tcp(&query)] {
        assert_eq!(reply, expected);
    }
}

/// In any place, and with names that refer across it.
#[test]
fn the_upstreams_own_edns_is_left_out() {
    let with_opt = |query: &[u8], place: usize| {
        let mut parts = rich();
        parts.additional.clear();
        let options = option(15, b"\x00\x04stale");
        // A name that only the additional section contains, and pointers to it.
        let start = parts.message(query).len();
        let opt = opt(0, &options);
        let here = if place == 0 { start + opt.len() } else { start };
        let pointer = [0xc0 | (here >> 8) as u8, here as u8];
        parts.additional.extend([
            record(b"\x05other\xc0\x0c", 1, 5, &[192, 0, 2, 10]),
            record(&[0], 2, 5, &[&[1, b'x'][..], &pointer].concat()),
            record(
                &pointer,
                33,
                5,
                &[&[0, 1, 0, 2, 0, 3][..], &pointer].concat(),
            ),
        ]);
        parts.additional.insert(place, opt);
        parts.message(query)
    };
    let query = query("rich.example", [1, 0], Some((0, &[])));
    let dump = |message: &[u8]| {
        let message = hickory_proto::op::Message::from_vec(message).unwrap();
        let sections = [message.answers, message.authorities, message.additionals];
        sections.map(|section| {
            let lines = section.iter().map(ToString::to_string);
            lines.collect::<Vec<_>>()
        })
    };
    for place in 0..=3 {
        let upstream = Upstream::always(move |query| with_opt(query, place));
        let field = Field::new(&[upstream.address]);
        let expected = dump(&with_opt(&query, place));
        assert_eq!(expected[2].len(), 3, "{expected:?}");
        for reply in [field.by_udp(&query), field.by_tcp(&query)] {
            assert_eq!(dump(&reply), expected, "place {place}");
        }
        // Of the upstream's options, the extended error is returned.
        let answer = field.dig(&["rich.example"]);
        assert!(answer.contains("EDE: 4 "), "{answer}");
    }
}

#[test]
fn an_extended_code_arrives_where_there_is_edns() {
    // A failure code that needs an OPT record: 17 + 16.
    let upstream = Upstream::always(|query| {
        let mut parts = Parts::code(1);
        parts.additional.push(opt(2, &[]));
        parts.message(query)
    });
    let field = Field::new(&[upstream.address]);
    let with = field.by_udp(&query("a.example", [1, 0], Some((0, &[]))));
    assert_eq!(with[3] & 0xf, 1);
    let opt = with.len() - 11 - options_length(&with);
    assert_eq!(with[opt + 5], 2, "{with:?}");
    let without = field.by_udp(&query("a.example", [1, 0], None));
    assert_eq!(without[3] & 0xf, 2, "SERVFAIL, for want of a better code");
}

/// The length of the options in the message's OPT record, which follows the
/// question.
fn options_length(message: &[u8]) -> usize {
    let start = 12 + question(message).len();
    usize::from(u16::from_be_bytes([
        message[start + 9],
        message[start + 10],
    ]))
}

#[test]
fn what_is_between_client_and_service_stays_there() {
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    let field = Field::new(&[upstream.address]);
    // Cookie, NSID, keepalive, padding, the address that a peer states.
    for arguments in [
        &["+cookie"][..],
        &["+nsid"],
        &["+keepalive", "+tcp"],
        &["+padding=64"],
        &["+subnet=10.0.1.5/32"],
        &["+subnet=192.0.2.0/24"],
        &["+ednsopt=65001:c0ffee"],
    ] {
        let answer = field.dig(&[arguments, &["+nocookie", "a.example"]].concat());
        assert!(answer.contains("192.0.2.7"), "{arguments:?}: {answer}");
        let seen = upstream.seen();
        let packet = &seen.last().unwrap().packet;
        assert_eq!(options_of(packet), [], "{arguments:?}");
    }
    // RFC 7871, section 7.5: a client that does not want its address revealed is
    // respected.
    for (stated, data) in [("0.0.0.0/0", [0, 1, 0, 0]), ("::/0", [0, 2, 0, 0])] {
        let answer = field.dig(&[&format!("+subnet={stated}"), "a.example"]);
        assert!(answer.contains("192.0.2.7"), "{answer}");
        let seen = upstream.seen();
        let packet = &seen.last().unwrap().packet;
        assert_eq!(options_of(packet), [(8, data.to_vec())], "{stated}");
    }
    // The client gets a cookie of the service.
    let answer = field.dig(&["+cookie", "a.example"]);
    assert!(answer.contains("(good)"), "{answer}");
}

#[test]
fn flags_are_the_clients() {
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    let field = Field::new(&[upstream.address]);
    // AD and CD; DO.
    for more in [0, 0x10, 0x20, 0x30] {
        for dnssec_ok in [0, 0x80] {
            let query = query("a.example", [1, more], Some((dnssec_ok, &[])));
            field.by_udp(&query);
            let seen = upstream.seen();
            let packet = &seen.last().unwrap().packet;
            assert_eq!(packet[2..4], [1, more]);
            let expected = [0, 0, 41, 0x04, 0xd0, 0, 0, dnssec_ok, 0, 0, 0];
            assert_eq!(opt_of(packet), expected);
        }
    }
}

#[test]
fn each_query_has_an_id_and_a_port_of_its_own() {
    const QUERIES: usize = 64;
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    let field = Field::new(&[upstream.address]);
    for _ in 0..QUERIES {
        field.by_udp(&query("a.example", [1, 0], None));
    }
    let seen = upstream.seen();
    assert!(seen.len() >= QUERIES);
    let ports: BTreeSet<u16> = seen.iter().map(|it| it.from.port()).collect();
    let ids: BTreeSet<&[u8]> = seen.iter().map(|it| &it.packet[..2]).collect();
    // Two of them may be equal by chance.
    assert!(ports.len() > QUERIES - 8, "{ports:?}");
    assert!(ids.len() > QUERIES - 8, "{ids:?}");
}

#[test]
fn no_client_gets_more_than_it_takes() {
    let large = |octets: usize| {
        Upstream::start(move |seen| {
            let mut parts = Parts::address();
            parts.answers = (0..octets / 200).map(|_| text(&"x".repeat(187))).collect();
            let mut reply = parts.reply(&seen.packet);
            if reply.len() > 1_232 && !seen.tcp {
                parts.answers.clear();
                parts.flags |= 2;
                reply = parts.reply(&seen.packet);
            }
            vec![super::upstream::Act::Send(reply)]
        })
    };
    let plain = query("a.example", [1, 0], None);
    let edns = query("a.example", [1, 0], Some((0, &[])));
    for (octets, fits_plain, fits_edns) in [
        (400, true, true),
        (600, false, true),
        (1_000, false, true),
        (1_400, false, false),
        (60_000, false, false),
    ] {
        let upstream = large(octets);
        let field = Field::new(&[upstream.address]);
        for (query, fits) in [(&plain, fits_plain), (&edns, fits_edns)] {
            let reply = field.by_udp(query);
            assert_eq!(reply[2] & 2 == 0, fits, "{octets}");
            assert_eq!(reply[7] != 0, fits, "{octets}");
            let whole = field.by_tcp(query);
            assert_eq!(whole[2] & 2, 0, "{octets}");
            assert!(whole.len() > octets - 200, "{octets}: {}", whole.len());
        }
    }
}

#[test]
fn a_signed_query_has_a_signed_reply() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, run("tsig-keygen", &["peers"])).unwrap();
    let config = directory.path().join("paramd.toml");
    std::fs::write(&config, "[keys]\nfiles = [\"key\"]\n").unwrap();
    let upstream = Upstream::always(|query| rich().reply(query));
    let more = vec!["--config".into(), config.to_str().unwrap().into()];
    let field = Field::with(&[upstream.address], more);
    for transport in ["+notcp", "+tcp"] {
        let answer = field.dig(&["-k", key.to_str().unwrap(), transport, "a.example"]);
        assert!(answer.contains("192.0.2.9"), "{answer}");
        assert!(answer.contains("TSIG PSEUDOSECTION"), "{answer}");
        assert!(answer.contains("NOERROR"), "{answer}");
        assert!(!answer.contains("could not be validated"), "{answer}");
        let seen = upstream.seen();
        assert_eq!(seen.last().unwrap().packet[11], 1, "no more than an OPT");
    }
}
