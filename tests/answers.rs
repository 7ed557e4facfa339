//! What the service answers, seen with `dig`: the names of a zone, who may
//! register, and everything that is refused.

mod common;

use std::net::UdpSocket;

use common::{Options, Service, shipped_zones, simple_zone, socket, txt_query, value_in, zones};
use hickory_proto::op::{Message, ResponseCode};

const O: &str = "pbft.fabric.internal";

fn service() -> (Service, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Service::start(&shipped_zones(), data.path()), data)
}

#[test]
fn four_hosts_get_their_ids_and_the_fifth_is_refused() {
    let (service, _data) = service();
    for (number, host) in ["peer_a-1", "B2", "3c", "d"].iter().enumerate() {
        let address = format!("+subnet=10.0.1.{number}/32");
        let answer = service.short(&["TXT", &format!("{host}.{O}"), &address]);
        let expected = |key, value: &str| assert_eq!(value_in(&answer[0], key).unwrap(), value);
        expected("id", &format!("vp{number}"));
        let roots: Vec<String> = (0..number)
            .map(|root| format!("10.0.1.{root}:7051"))
            .collect();
        expected("root", &roots.join(","));
        expected("n", "4");
        expected("f", "1");
        expected("address", &format!("10.0.1.{number}:7051"));
        expected("role", "mixed");
        assert_eq!(answer.len(), 1);
    }
    let fifth = service.dig(&["TXT", &format!("e.{O}")]);
    assert!(fifth.contains("status: REFUSED"), "{fifth}");
    assert!(
        fifth.contains("EDE: 0 (Other): (all 4 numbers of vp are taken"),
        "{fifth}"
    );
    let apex = service.short(&["TXT", O]);
    assert_eq!(apex, [r#""n=4" "f=1" "peers=4" "live=4""#]);
}

#[test]
fn every_name_of_the_table_answers() {
    let (service, _data) = service();
    for (host, address) in [("a", "10.0.1.1"), ("b", "10.0.1.2")] {
        let subnet = format!("+subnet={address}/32");
        service.short(&["TXT", &format!("{host}.validator.{O}"), &subnet]);
    }
    let subnet = "+subnet=10.0.1.2/32";
    let srv = ["0 0 7051 vp0.pbft.fabric.internal."];
    for name in ["b", "b.validator", "vp1", "B.VALIDATOR"] {
        assert_eq!(
            service.short(&["SRV", &format!("{name}.{O}"), subnet]),
            srv,
            "{name}"
        );
        let answer = service.short(&["TXT", &format!("{name}.{O}"), subnet]);
        assert_eq!(
            answer,
            [
                r#""id=vp1" "root=10.0.1.1:7051" "n=4" "f=1" "address=10.0.1.2:7051" "role=validator" "epoch=3""#
            ]
        );
    }
    for name in ["_env.b", "_env.b.validator", "_env.vp1"] {
        let answer = service.short(&["TXT", &format!("{name}.{O}"), subnet]);
        for variable in [
            "CORE_PEER_ID=vp1",
            "CORE_PEER_ADDRESS=vp1.pbft.fabric.internal:7051",
            "CORE_PEER_FILESYSTEMPATH=/var/hyperledger/production/pbft.fabric.internal/vp1",
            "CORE_VM_DOCKER_HOSTCONFIG_DNS=127.0.0.1",
            "CORE_PBFT_GENERAL_N=4",
            "CORE_PBFT_GENERAL_F=1",
            "CORE_REST_ENABLED=false",
        ] {
            assert!(
                answer.contains(&format!("\"{variable}\"")),
                "{variable} in {answer:?}"
            );
        }
        assert!(!answer.iter().any(|line| line.contains("CORE_REST_ADDRESS")));
    }
    // The summary comes with the environment, so that one answer says all.
    let answer = service.dig(&["TXT", &format!("_env.b.{O}"), subnet]);
    let additional = answer.split("ADDITIONAL SECTION").nth(1).unwrap();
    assert!(
        additional.contains(r#""address=10.0.1.2:7051""#),
        "{answer}"
    );
    for name in ["a", "vp0"] {
        assert_eq!(service.short(&["A", &format!("{name}.{O}")]), ["10.0.1.1"]);
        assert!(service.short(&["AAAA", &format!("{name}.{O}")]).is_empty());
    }
    let offered = service.dig(&["SRV", &format!("_grpc._tcp.{O}")]);
    for line in ["0 0 7051 vp0", "0 0 7051 vp1", "A\t10.0.1.1", "A\t10.0.1.2"] {
        assert!(offered.contains(line), "{line} in {offered}");
    }
    assert!(
        service
            .short(&["SRV", &format!("_rest._tcp.{O}")])
            .is_empty()
    );
    assert_eq!(service.short(&["NS", O]), ["ns.dns.pbft.fabric.internal."]);
    assert_eq!(service.short(&["A", &format!("ns.dns.{O}")]), ["127.0.0.1"]);
    let soa = service.short(&["SOA", O]);
    assert!(
        soa[0].starts_with("ns.dns.pbft.fabric.internal. hostmaster."),
        "{soa:?}"
    );
    assert_eq!(service.short(&["ANY", O]), [r#""RFC8482" """#]);
    // The zone without n says nothing of it.
    let noops = service.short(&["TXT", "x.noops.fabric.internal"]);
    assert_eq!(
        noops,
        [r#""id=vp0" "root=" "address=127.0.0.1:7051" "role=mixed" "epoch=2""#]
    );
    let rest = service.short(&["TXT", "y.rest.noops.fabric.internal", "+subnet=10.0.1.9/32"]);
    assert!(
        rest[0].starts_with(r#""id=nvp0" "root=127.0.0.1:7051""#),
        "{rest:?}"
    );
}

fn status(answer: &str) -> &str {
    let rest = answer.split("status: ").nth(1).unwrap();
    rest.split(',').next().unwrap()
}

#[test]
fn what_exists_not_is_nxdomain_and_what_has_no_such_type_is_nodata() {
    let (service, _data) = service();
    service.short(&["TXT", &format!("a.{O}")]);
    let unknown = [
        "nobody",
        "vp3",
        "vp01",
        "vp99999999999",
        "_leave.nobody",
        "_env.nobody",
        "x%y",
        "a.b.c",
        "_env.mixed",
        "a.nosuchrole",
        "_nosuch._tcp",
        "a.rest",
        "_env.a.rest",
        "host.vp0",
    ];
    for name in unknown {
        let answer = service.dig(&["A", &format!("{name}.{O}")]);
        assert_eq!(status(&answer), "NXDOMAIN", "{name}: {answer}");
        assert!(answer.contains("AUTHORITY: 1"), "{answer}");
        // Not to be cached (RFC 2308): neither the SOA's TTL nor its minimum.
        assert!(
            answer.contains("86400 0\n") && answer.contains("\t0\tIN\tSOA"),
            "{answer}"
        );
    }
    for name in ["vp3", "vp01", "x%y", "a.b.c", "_env.mixed"] {
        let answer = service.dig(&["TXT", &format!("{name}.{O}")]);
        assert_eq!(status(&answer), "NXDOMAIN", "{name}: {answer}");
    }
    for (name, rtype) in [
        ("a", "MX"),
        ("a", "AAAA"),
        ("_env.a", "A"),
        ("_env.a", "SRV"),
        ("mixed", "TXT"),
        ("_tcp", "A"),
        ("dns", "A"),
        ("a", "SRV"),
        ("_leave.a", "A"),
        ("a.mixed", "A"),
    ] {
        let answer = service.dig(&[rtype, &format!("{name}.{O}")]);
        assert_eq!(status(&answer), "NOERROR", "{name}: {answer}");
        assert!(
            answer.contains("ANSWER: 0, AUTHORITY: 1"),
            "{name} {rtype}: {answer}"
        );
    }
    let peers = service.short(&["TXT", O]);
    assert_eq!(
        peers,
        [r#""n=4" "f=1" "peers=1" "live=1""#],
        "none of these registers"
    );
}

#[test]
fn an_answer_repeats_the_spelling_of_the_question() {
    let (service, _data) = service();
    for name in [
        "HoSt.PbFt.FaBrIc.InTeRnAl.",
        "_EnV.hOST.pBfT.fabric.INTERNAL.",
    ] {
        let answer = service.dig(&["+noall", "+answer", "TXT", name]);
        assert!(
            answer.lines().all(|line| line.starts_with(name)),
            "{answer}"
        );
        assert!(!answer.is_empty());
    }
    assert_eq!(
        service.value("HOST.PBFT.fabric.internal", "id").unwrap(),
        "vp0"
    );
}

#[test]
fn the_lease_says_who_the_holder_is() {
    let zones = zones(&[(
        "t.toml",
        &simple_zone("lease = \"2s\"\nreclaim = \"never\"", ""),
    )]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let ask = |subnet: &str| {
        let answer = service.short(&["TXT", "h.test.internal", &format!("+subnet={subnet}/32")]);
        value_in(&answer[0], "address").unwrap()
    };
    assert_eq!(ask("10.0.0.1"), "10.0.0.1:7051");
    // A running lease is never taken, and the other's question does not renew it.
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 1_500 {
        assert_eq!(ask("10.0.0.2"), "10.0.0.1:7051");
    }
    common::eventually(
        std::time::Duration::from_secs(2),
        "the lease runs out",
        || ask("10.0.0.2") == "10.0.0.2:7051",
    );
    assert_eq!(service.value("h.test.internal", "id").unwrap(), "vp0");
    // Only the holder leaves; then anyone may take over at once.
    let other = service.dig(&["TXT", "_leave.h.test.internal", "+subnet=10.0.0.1/32"]);
    assert!(
        other.contains("REFUSED") && other.contains("held by another"),
        "{other}"
    );
    let left = service.short(&["TXT", "_leave.h.test.internal", "+subnet=10.0.0.2/32"]);
    assert_eq!(left, [r#""left=vp0""#]);
    assert!(service.short(&["TXT", "test.internal"])[0].contains("live=0"));
    assert_eq!(ask("10.0.0.1"), "10.0.0.1:7051");
    let unknown = service.dig(&["TXT", "_leave.nobody.test.internal"]);
    assert_eq!(status(&unknown), "NXDOMAIN");
}

#[test]
fn a_number_passes_on_after_reclaim() {
    let head = "n = 1\nlease = \"1s\"\nreclaim = \"2s\"";
    let zones = zones(&[("t.toml", &simple_zone(head, "limit = \"n\""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    // The lease starts before the answer is here.
    let start = std::time::Instant::now();
    assert_eq!(service.value("old.test.internal", "id").unwrap(), "vp0");
    common::eventually(
        std::time::Duration::from_secs(6),
        "the ID passes on",
        || {
            let answer = service.dig(&["TXT", "new.test.internal"]);
            if start.elapsed().as_millis() > 1_200 && answer.contains("REFUSED") {
                assert!(
                    answer.contains("passes on when its holder's lease ran out 2s ago"),
                    "{answer}"
                );
            }
            answer.contains("id=vp0")
        },
    );
    assert!(start.elapsed().as_millis() >= 3_000);
    assert_eq!(
        status(&service.dig(&["A", "old.test.internal"])),
        "NXDOMAIN"
    );
}

#[test]
fn another_role_is_refused_with_the_registered_one() {
    let (service, _data) = service();
    service.short(&["TXT", &format!("a.validator.{O}")]);
    for name in ["a.rest", "_env.a.mixed"] {
        let answer = service.dig(&["TXT", &format!("{name}.{O}")]);
        assert_eq!(status(&answer), "REFUSED");
        assert!(
            answer.contains("a is registered with the role validator"),
            "{answer}"
        );
    }
    assert_eq!(
        service.value(&format!("a.{O}"), "role").unwrap(),
        "validator"
    );
}

#[test]
fn an_address_that_no_peer_can_have_is_refused() {
    let (service, _data) = service();
    for subnet in [
        "0.0.0.0/32",
        "0.1.2.3/32",
        "224.0.0.1/32",
        "240.0.0.1/32",
        "255.255.255.255/32",
        "::/128",
        "::10.0.0.1/128",
        "::ffff:0.0.0.1/128",
        "100::1/128",
        "ff02::1/128",
    ] {
        let answer = service.dig(&["TXT", &format!("a.{O}"), &format!("+subnet={subnet}")]);
        assert_eq!(status(&answer), "REFUSED", "{subnet}: {answer}");
        assert!(answer.contains("no peer can have the address"), "{answer}");
    }
    // Without a full prefix the address is the source's.
    let answer = service.short(&["TXT", &format!("a.{O}"), "+subnet=10.9.0.0/16"]);
    assert_eq!(value_in(&answer[0], "address").unwrap(), "127.0.0.1:7051");
    let six = service.short(&["TXT", &format!("b.{O}"), "+subnet=fd00::5/128"]);
    assert_eq!(value_in(&six[0], "address").unwrap(), "[fd00::5]:7051");
    assert_eq!(service.short(&["AAAA", &format!("b.{O}")]), ["fd00::5"]);
}

#[test]
fn large_answers_are_truncated_by_udp_and_whole_by_tcp() {
    let data = tempfile::tempdir().unwrap();
    let mut zone = simple_zone("", "");
    for number in 0..30 {
        zone.push_str(&format!("CORE_LONG_{number} = \"{}\"\n", "x".repeat(300)));
    }
    let zones = zones(&[("t.toml", &zone)]);
    let service = Service::start(zones.path(), data.path());
    let name = "_env.a.test.internal";
    for (option, most) in [
        ("+noedns", 512),
        ("+bufsize=600", 600),
        ("+bufsize=4096", 1_232),
    ] {
        let answer = service.dig(&["+ignore", option, "TXT", name]);
        assert!(
            answer.contains("flags: qr aa tc") || answer.contains("flags: qr tc"),
            "{answer}"
        );
        let size = answer.split("rcvd: ").nth(1).unwrap().trim();
        assert!(size.parse::<usize>().unwrap() <= most, "{answer}");
        let whole = service.dig(&[option, "TXT", name]);
        assert!(whole.contains("ANSWER: 32"), "{whole}");
        // A value longer than a character-string goes on in the next one.
        assert!(whole.contains("xxx\" \"xxx"), "{whole}");
    }
}

#[test]
fn kdig_host_and_nslookup_are_served_too() {
    let (service, _data) = service();
    let port = service.port().to_string();
    let name = format!("a.{O}");
    let kdig = common::run("kdig", &["@127.0.0.1", "-p", &port, "+short", "TXT", &name]);
    assert!(kdig.contains("id=vp0"), "{kdig}");
    let host = common::run("host", &["-p", &port, "-t", "TXT", &name, "127.0.0.1"]);
    assert!(host.contains("id=vp0"), "{host}");
    let nslookup = common::run(
        "nslookup",
        &[&format!("-port={port}"), "-type=TXT", &name, "127.0.0.1"],
    );
    assert!(nslookup.contains("id=vp0"), "{nslookup}");
}

#[test]
fn what_is_no_question_for_this_service_gets_the_code_of_the_rfcs() {
    let (service, _data) = service();
    let name = format!("a.{O}");
    for (arguments, expected) in [
        (vec!["TXT", "example.com"], "REFUSED"),
        (vec!["-c", "CH", "TXT", &name], "REFUSED"),
        (vec!["+opcode=NOTIFY", "SOA", O], "NOTIMP"),
        (vec!["+opcode=STATUS", "SOA", O], "NOTIMP"),
        (vec!["+opcode=15", "SOA", O], "NOTIMP"),
        (
            vec!["+edns=1", "+noednsnegotiation", "TXT", &name],
            "BADVERS",
        ),
        (vec!["+header-only", "+nocookie"], "FORMERR"),
        (vec!["AXFR", "example.com"], "REFUSED"),
    ] {
        let answer = service.dig(&arguments);
        let refused_transfer = expected == "REFUSED" && answer.contains("Transfer failed");
        assert!(
            refused_transfer || status(&answer) == expected,
            "{arguments:?}: {answer}"
        );
    }
}

#[test]
fn malformed_packets_get_formerr_or_nothing() {
    let (service, _data) = service();
    let socket = socket();
    let mut buffer = [0; 4096];
    let query = txt_query(7, &format!("a.{O}"), None);
    let mut two_questions = query.clone();
    two_questions[5] = 2;
    let mut pointer_loop = query[..12].to_vec();
    pointer_loop.extend([0xc0, 12, 0, 16, 0, 1]);
    let mut cut = query.clone();
    cut.truncate(20);
    for packet in [two_questions, pointer_loop, cut] {
        socket.send_to(&packet, service.address).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let reply = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
        assert_eq!(reply.metadata.id, 7);
    }
    // Less than a header, and an answer, get nothing at all.
    let mut answer = query.clone();
    answer[2] |= 0x80;
    for packet in [query[..11].to_vec(), answer, vec![]] {
        socket.send_to(&packet, service.address).unwrap();
    }
    socket.send_to(&query, service.address).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn the_seed_of_a_network_is_one_peer() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    for _ in 0..20 {
        let data = tempfile::tempdir().unwrap();
        let service = Service::start(zones.path(), data.path());
        let sockets: Vec<UdpSocket> = (0..4).map(|_| socket()).collect();
        for (host, socket) in sockets.iter().enumerate() {
            let address = format!("10.0.0.{host}");
            let query = txt_query(1, &format!("h{host}.test.internal"), Some(&address));
            socket.send_to(&query, service.address).unwrap();
        }
        let mut buffer = [0; 4096];
        let without_root = sockets
            .iter()
            .filter(|socket| {
                let length = socket.recv(&mut buffer).unwrap();
                let reply = Message::from_vec(&buffer[..length]).unwrap();
                common::strings_of(&reply).contains(&"root=".to_owned())
            })
            .count();
        assert_eq!(without_root, 1);
    }
}

#[test]
fn access_lists_say_who_may_do_what() {
    let data = tempfile::tempdir().unwrap();
    let config = zones(&[(
        "paramd.toml",
        "[access]\nquery = [\"127.0.0.1\", \"127.0.0.2\"]\nregister = [\"127.0.0.1/32\"]\ntransfer = []\n",
    )]);
    let zones = shipped_zones();
    let mut options = Options::new(&zones, data.path());
    options.more = vec![
        "--config".into(),
        config.path().join("paramd.toml").to_string_lossy().into(),
    ];
    let service = Service::start_with(&options);
    let name = format!("a.{O}");
    assert_eq!(service.value(&name, "id").unwrap(), "vp0");
    for (from, rtype, name, expected) in [
        (
            "127.0.0.2",
            "TXT",
            format!("b.{O}"),
            "your network may not register",
        ),
        ("127.0.0.2", "A", name.clone(), "10.|127.0.0.1"),
        ("127.0.0.3", "A", name.clone(), "your network may not query"),
    ] {
        let answer = service.dig(&["-b", from, rtype, &name]);
        let expected = expected.split('|').next_back().unwrap();
        assert!(answer.contains(expected), "{from}: {answer}");
        if expected.starts_with("your") {
            assert!(answer.contains("EDE: 18 (Prohibited)"), "{answer}");
        }
    }
    let transfer = service.dig(&["AXFR", O]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

#[test]
fn several_addresses_and_both_families_are_served() {
    let data = tempfile::tempdir().unwrap();
    let zones = shipped_zones();
    let mut options = Options::new(&zones, data.path());
    options.listen = vec!["127.0.0.1:0".into(), "[::1]:0".into()];
    let service = Service::start_with(&options);
    for (host, address) in ["a", "b"].iter().zip(&service.addresses) {
        let (server, port) = (format!("@{}", address.ip()), address.port().to_string());
        let name = format!("{host}.{O}");
        for transport in ["+notcp", "+tcp"] {
            let arguments = [
                server.as_str(),
                "-p",
                &port,
                "+short",
                transport,
                "TXT",
                &name,
            ];
            let answer = common::run("dig", &arguments);
            let expected = std::net::SocketAddr::new(address.ip(), 7051).to_string();
            assert_eq!(value_in(&answer, "address").unwrap(), expected);
        }
    }
}

#[test]
fn a_star_is_a_label_like_any_other() {
    let (service, _data) = service();
    for (rtype, name) in [
        ("TXT", "*"),
        ("SOA", "*"),
        ("TXT", "_env.*"),
        ("TXT", "*.mixed"),
    ] {
        let answer = service.dig(&[rtype, &format!("{name}.{O}")]);
        assert_eq!(status(&answer), "NXDOMAIN", "{name}: {answer}");
    }
    let transfer = service.dig(&["AXFR", &format!("*.{O}")]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

#[test]
fn a_busy_zone_does_not_keep_leases_of_another_alive() {
    let busy = simple_zone("lease = \"1s\"", "");
    let quiet = busy.replace("test.internal", "quiet.internal");
    let zones = zones(&[("busy.toml", &busy), ("quiet.toml", &quiet)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    service.value("a.quiet.internal", "id").unwrap();
    let socket = socket();
    let mut buffer = [0; 4096];
    let start = std::time::Instant::now();
    // Each of these goes to the writer, so that it never waits.
    while start.elapsed().as_millis() < 2_000 {
        socket
            .send_to(
                &txt_query(1, "_leave.nobody.test.internal", None),
                service.address,
            )
            .unwrap();
        socket.recv(&mut buffer).unwrap();
    }
    let live = service.short(&["TXT", "quiet.internal"]);
    assert!(live[0].contains("live=0"), "{live:?}");
}

#[test]
fn one_address_cannot_take_all_connections() {
    let (service, _data) = service();
    let connections: Vec<_> = (0..1_100)
        .filter_map(|_| std::net::TcpStream::connect(service.address).ok())
        .collect();
    let answer = service.dig(&["-b", "127.0.0.2", "+tcp", "TXT", O]);
    assert_eq!(status(&answer), "NOERROR", "{answer}");
    // Nor from itself: the connections that did least for longest make room.
    let answer = service.dig(&["+tcp", "TXT", O]);
    assert_eq!(status(&answer), "NOERROR", "{answer}");
    drop(connections);
}

#[test]
fn malformed_options_are_not_logged() {
    let (service, _data) = service();
    let socket = socket();
    // An OPT record whose only option is longer than the record.
    let mut query = txt_query(1, &format!("a.{O}"), Some("10.0.0.1"));
    let length = query.len();
    query[length - 9] = 200;
    let before = service.log_of_others();
    let mut buffer = [0; 4096];
    for _ in 0..100 {
        socket.send_to(&query, service.address).unwrap();
        socket.recv(&mut buffer).unwrap();
    }
    let log = service.log_of_others();
    let more = log.lines().count() - before.lines().count();
    assert!(more <= 1, "{log}");
}

/// RFC 7766, sections 6.2.1.1 and 7: queries follow each other without waiting,
/// and who is known already is answered before those who wait for the disk.
#[test]
fn queries_of_one_connection_are_answered_as_they_can_be() {
    use std::io::{Read as _, Write as _};

    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let mut stream = std::net::TcpStream::connect(service.address).unwrap();
    let patience = std::time::Duration::from_secs(5);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut octets = Vec::new();
    const QUERIES: u16 = 300;
    for id in 0..QUERIES {
        let name = match id % 2 {
            0 => format!("h{id}.test.internal"),
            _ => "test.internal".to_owned(),
        };
        let query = txt_query(id, &name, None);
        octets.extend(u16::try_from(query.len()).unwrap().to_be_bytes());
        octets.extend(query);
    }
    stream.write_all(&octets).unwrap();
    // The client has no more to say, and is answered all the same.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..QUERIES {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).unwrap();
        let reply = Message::from_vec(&message).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert_eq!(reply.answers.len(), 1);
        answered.insert(reply.metadata.id);
    }
    assert_eq!(answered.len(), usize::from(QUERIES));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "then it is closed");
}
