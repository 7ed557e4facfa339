//! How many queries are forwarded at once, and which are answered locally.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
};

use super::{Field, PATIENCE, messages::Parts, query, upstream::Upstream};
use crate::common::{Options, Service, eventually, simple_zone, zones};

/// How many queries of one client network are forwarded at once with a single
/// upstream.
const OF_ONE_NETWORK: usize = 256;

fn open_files(service: &Service) -> usize {
    let directory = format!("/proc/{}/fd", service.child.id());
    fs::read_dir(directory).unwrap().count()
}

/// Sends queries, each from its own socket. Returns the sockets.
fn ask_many(field: &Field, count: usize) -> Vec<UdpSocket> {
    let ask = |number| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let query = query(&format!("n{number}.example"), [1, 0], Some((0, &[])));
        socket.send_to(&query, field.service.address).unwrap();
        socket
    };
    (0..count).map(ask).collect()
}

fn replies(sockets: &[UdpSocket]) -> Vec<Vec<u8>> {
    let receive = |socket: &UdpSocket| {
        let mut reply = vec![0; 2_048];
        let length = socket.recv(&mut reply).unwrap();
        reply.truncate(length);
        reply
    };
    sockets.iter().map(receive).collect()
}

#[test]
fn no_more_than_so_many_queries_wait_for_upstreams() {
    const MORE: usize = 44;
    let upstream = Upstream::silent();
    let field = Field::new(&[upstream.address]);
    let before = open_files(&field.service);
    let sockets = ask_many(&field, OF_ONE_NETWORK + MORE);
    // Names in the zones are answered in the meantime, and further names are not.
    let zone = field.dig(&["SOA", "test.internal"]);
    assert!(zone.contains("status: NOERROR"), "{zone}");
    let most = before + OF_ONE_NETWORK + 16;
    assert!(open_files(&field.service) <= most);
    let replies = replies(&sockets);
    let is_refused = |reply: &&Vec<u8>| {
        let text = String::from_utf8_lossy(reply);
        text.contains("too many queries are being forwarded")
    };
    for reply in &replies {
        assert_eq!(reply[3] & 0xf, 2, "SERVFAIL");
    }
    let refused = replies.iter().filter(is_refused).count();
    // Fewer on a machine that is so slow that the first queries have timed out.
    assert!((1..=MORE).contains(&refused), "{refused}");
    eventually(PATIENCE, "all sockets are closed", || {
        open_files(&field.service) <= before + 4
    });
    drop(upstream);
    // Then there is room again.
    let good = Upstream::always(|query| Parts::address().reply(query));
    let field = Field::new(&[good.address]);
    for reply in self::replies(&ask_many(&field, 200)) {
        assert_eq!(reply[3] & 0xf, 0);
    }
}

#[test]
fn a_service_that_forwards_to_itself_comes_to_an_end() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.listen = vec![address.to_string()];
    options.more = vec!["--forward".into(), address.to_string()];
    let service = Service::start_with(&options);
    let before = open_files(&service);
    let answer = service.dig(&["+time=20", "a.example"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    let zone = service.dig(&["SOA", "test.internal"]);
    assert!(zone.contains("status: NOERROR"), "{zone}");
    eventually(PATIENCE, "all sockets are closed", || {
        open_files(&service) <= before + 4
    });
}

#[test]
fn what_is_not_for_an_upstream_does_not_reach_it() {
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    let field = Field::new(&[upstream.address]);
    for arguments in [
        &["+norecurse", "a.example"][..],
        &["AXFR", "+tcp", "a.example"],
        &["IXFR=1", "a.example"],
        &["IXFR=1", "+tcp", "a.example"],
        &["-c", "CH", "TXT", "a.example"],
    ] {
        let answer = field.dig(arguments);
        let is_refused = answer.contains("status: REFUSED") || answer.contains("Transfer failed");
        assert!(is_refused, "{arguments:?}: {answer}");
    }
    let answer = field.dig(&["+opcode=notify", "a.example"]);
    assert!(answer.contains("status: NOTIMP"), "{answer}");
    assert_eq!(upstream.seen().len(), 0);

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("paramd.toml");
    fs::write(&config, "[access]\nforward = [\"192.0.2.0/24\"]\n").unwrap();
    let more = vec!["--config".into(), config.to_str().unwrap().into()];
    let field = Field::with(&[upstream.address], more);
    let answer = field.dig(&["a.example"]);
    assert!(answer.contains("status: REFUSED"), "{answer}");
    assert!(answer.contains("EDE: 18 (Prohibited)"), "{answer}");
    assert_eq!(upstream.seen().len(), 0);
}

/// The result for a name: the code, and optional data.
type Given = (&'static str, &'static str, &'static str, &'static str);

/// RFC 6761, sections 6.3 and 6.4, RFC 6303, section 4.2, and RFC 7686.
const LOCAL: [Given; 16] = [
    ("localhost", "A", "NOERROR", "127.0.0.1"),
    ("LocalHost", "AAAA", "NOERROR", "::1"),
    ("any.localhost", "A", "NOERROR", "127.0.0.1"),
    ("localhost", "MX", "NOERROR", ""),
    ("localhost", "TXT", "NOERROR", ""),
    ("1.0.0.127.in-addr.arpa", "PTR", "NOERROR", "localhost."),
    ("1.0.0.127.in-addr.arpa", "A", "NOERROR", ""),
    ("0.127.in-addr.arpa", "PTR", "NOERROR", ""),
    ("2.0.0.127.in-addr.arpa", "PTR", "NXDOMAIN", ""),
    ("127.in-addr.arpa", "PTR", "NOERROR", ""),
    ("127.in-addr.arpa", "NS", "NOERROR", "NS\t127.in-addr.arpa."),
    ("::1", "PTR", "NOERROR", "localhost."),
    ("::1", "TXT", "NOERROR", ""),
    ("a.invalid", "A", "NXDOMAIN", ""),
    ("invalid", "A", "NOERROR", ""),
    ("a.onion", "A", "NXDOMAIN", ""),
];

/// RFC 6303, section 4, and RFC 7793: networks that belong to nobody, or to
/// everybody.
const PRIVATE: [&str; 12] = [
    "10.0.1.5",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "100.127.0.1",
    "0.0.0.1",
    "192.0.2.1",
    "fd00::5",
    "fe80::1",
    "2001:db8::1",
];

#[test]
fn names_of_this_machine_are_answered_here() {
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    for upstreams in [&[][..], &[upstream.address]] {
        let field = Field::new(upstreams);
        for (name, rtype, code, data) in LOCAL {
            let reverse =
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
            let name = if name == "::1" { reverse } else { name };
            let answer = field.dig(&[rtype, name]);
            let what = format!("{name} {rtype}: {answer}");
            assert!(answer.contains(&format!("status: {code}")), "{what}");
            assert_eq!(answer.contains("SOA"), data.is_empty(), "{what}");
            assert!(answer.contains(data), "{what}");
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn reverse_names_of_private_networks_are_for_the_upstream_if_there_is_one() {
    let upstream = Upstream::always(|query| Parts::address().reply(query));
    let (with, without) = (Field::new(&[upstream.address]), Field::new(&[]));
    for (before, address) in PRIVATE.into_iter().enumerate() {
        let forwarded = with.dig(&["-x", address]);
        assert!(forwarded.contains("192.0.2.7"), "{address}: {forwarded}");
        assert!(upstream.seen().len() > before);
        // musl waits for five seconds after a refusal.
        let answer = without.dig(&["-x", address]);
        assert!(answer.contains("status: NXDOMAIN"), "{address}: {answer}");
        assert!(answer.contains("SOA"), "{address}: {answer}");
    }
    // Neighbouring networks are not affected.
    for address in [
        "11.0.0.1",
        "172.32.0.1",
        "100.128.0.1",
        "fec0::1",
        "2001:db9::1",
    ] {
        let answer = without.dig(&["-x", address]);
        assert!(answer.contains("status: REFUSED"), "{address}: {answer}");
    }
    // The zone of a whole network exists, and has no other types.
    let apex = without.dig(&["NS", "10.in-addr.arpa"]);
    assert!(apex.contains("ANSWER: 1,"), "{apex}");
    let none = without.dig(&["PTR", "10.in-addr.arpa"]);
    assert!(none.contains("status: NOERROR"), "{none}");
    assert!(none.contains("ANSWER: 0,"), "{none}");
    let unknown = without.dig(&["public.example"]);
    assert!(unknown.contains("status: REFUSED"), "{unknown}");
}
