//! The answers of the service, as `dig` shows them: the names of a zone,
//! registration, and refusals.

use std::net::UdpSocket;

use crate::common::{
    self, Options, Service, shipped_service, shipped_zones, simple_zone, socket, status, txt_query,
    value_in, zones,
};
use hickory_proto::op::Message;

const O: &str = "pbft.fabric.internal";

#[test]
fn four_hosts_get_their_ids_and_the_fifth_is_refused() {
    let (service, _data) = shipped_service();
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
        fifth.contains("EDE: 0 (Other): (all 4 numbers of vp are assigned"),
        "{fifth}"
    );
    let apex = service.short(&["TXT", O]);
    assert_eq!(apex, [r#""n=4" "f=1" "peers=4" "live=4""#]);
}

#[test]
fn every_name_of_the_table_answers() {
    let (service, _data) = shipped_service();
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
    // The summary accompanies the environment, so that one answer is sufficient.
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
    // The answers of a zone without n do not contain it.
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

#[test]
fn what_exists_not_is_nxdomain_and_what_has_no_such_type_is_nodata() {
    let (service, _data) = shipped_service();
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
        // Negative answers are not cached (RFC 2308): the SOA's TTL and its
        // minimum are 0.
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
    let (service, _data) = shipped_service();
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
fn another_role_is_refused_with_the_registered_one() {
    let (service, _data) = shipped_service();
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
    let (service, _data) = shipped_service();
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
    // Without a full prefix, the source address is used.
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
        // A value that is longer than a character-string continues in the next
        // one.
        assert!(whole.contains("xxx\" \"xxx"), "{whole}");
    }
}

#[test]
fn kdig_host_and_nslookup_are_served_too() {
    let (service, _data) = shipped_service();
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
    let (service, _data) = shipped_service();
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
