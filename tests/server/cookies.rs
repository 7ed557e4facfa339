//! Verification of the source by DNS cookies, from another host.

use crate::common::namespaces::Network;
use crate::common::{self, Options, Service, simple_zone, value_in, zones};

struct Field {
    service: Service,
    network: Network,
    _zones: tempfile::TempDir,
    _data: tempfile::TempDir,
    _config: tempfile::TempDir,
}

impl Field {
    fn new() -> Self {
        Self::with_config("")
    }

    fn with_config(config: &str) -> Self {
        let network = Network::new(2);
        let config = common::zones(&[("c.toml", config)]);
        let path = config.path().join("c.toml");
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["0.0.0.0:53".into(), "[::]:53".into()];
        options.more = vec!["--config".into(), path.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        Self {
            service,
            network,
            _zones: zones,
            _data: data,
            _config: config,
        }
    }

    /// `dig` from a host, by UDP only.
    fn dig(&self, host: usize, arguments: &[&str]) -> String {
        let base = ["dig", "@10.77.0.1", "+tries=1", "+time=3", "+ignore"];
        self.network.run(host, &[&base[..], arguments].concat())
    }

    fn peers(&self) -> String {
        self.network
            .run(0, &["dig", "@127.0.0.1", "+short", "TXT", "test.internal"])
    }
}

/// The cookie in an answer, and how `dig` rates it.
fn cookie(answer: &str) -> (String, String) {
    let rest = answer
        .split("; COOKIE: ")
        .nth(1)
        .unwrap_or_else(|| panic!("{answer}"));
    let mut words = rest.split_whitespace();
    (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    )
}

#[test]
fn dig_registers_by_udp_in_one_call() {
    let field = Field::new();
    let answer = field.dig(1, &["TXT", "a.test.internal"]);
    assert!(
        answer.contains("(UDP)") && answer.contains("id=vp0"),
        "{answer}"
    );
    assert_eq!(cookie(&answer).1, "(good)");
    // The first of `dig`'s two queries gets BADCOOKIE and a cookie.
    let first = field.dig(1, &["+nobadcookie", "TXT", "b.test.internal"]);
    assert!(first.contains("status: BADCOOKIE"), "{first}");
    assert_eq!(cookie(&first).1, "(good)");
    assert!(field.peers().contains("peers=1"));
    for tool in [
        vec![
            "dig",
            "+short",
            "@10.77.0.1",
            "+nocookie",
            "TXT",
            "c.test.internal",
        ],
        vec![
            "dig",
            "+short",
            "@10.77.0.1",
            "+noedns",
            "TXT",
            "c.test.internal",
        ],
        vec![
            "dig",
            "+short",
            "@fd77::1",
            "+subnet=10.77.0.11/32",
            "TXT",
            "d.test.internal",
        ],
        vec![
            "kdig",
            "+short",
            "@10.77.0.1",
            "+cookie",
            "TXT",
            "c.test.internal",
        ],
        vec!["host", "-t", "TXT", "c.test.internal", "10.77.0.1"],
        vec!["nslookup", "-type=TXT", "c.test.internal", "10.77.0.1"],
    ] {
        let answer = field.network.run(1, &tool);
        assert_eq!(
            value_in(&answer, "address").unwrap(),
            "10.77.0.11:7051",
            "{tool:?}"
        );
    }
    // Names that do not register are answered immediately, with a cookie.
    let read = field.dig(1, &["+nobadcookie", "A", "vp0.test.internal"]);
    assert!(
        read.contains("NOERROR") && read.contains("10.77.0.11"),
        "{read}"
    );
    assert_eq!(cookie(&read).1, "(good)");
}

#[test]
fn a_cookie_of_another_address_or_service_is_no_proof() {
    let field = Field::new();
    let own = cookie(&field.dig(1, &["+nobadcookie", "TXT", "a.test.internal"])).0;
    let with = |host: usize, cookie: &str| {
        let option = format!("+cookie={cookie}");
        field.dig(host, &["+nobadcookie", &option, "TXT", "a.test.internal"])
    };
    // The cookie of another host, one with changed octets, and a client cookie
    // alone.
    let mut changed = own.clone().into_bytes();
    let last = changed.len() - 1;
    changed[last] = if changed[last] == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).unwrap();
    for (host, cookie) in [
        (2, own.as_str()),
        (1, &changed),
        (1, &own[..16]),
        (1, &own[..40]),
    ] {
        let answer = with(host, cookie);
        assert!(answer.contains("status: BADCOOKIE"), "{cookie}: {answer}");
    }
    assert!(field.peers().contains("peers=0"));
    assert!(with(1, &own).contains("id=vp0"));
    // The cookie verifies the source, so a neighbour achieves nothing by stating
    // another's address.
    let forged = field.dig(2, &["+subnet=10.77.0.11/32", "TXT", "a.test.internal"]);
    assert_eq!(value_in(&forged, "address").unwrap(), "10.77.0.11:7051");
    let left = field.dig(
        2,
        &["+subnet=10.77.0.11/32", "TXT", "_leave.a.test.internal"],
    );
    assert!(left.contains("REFUSED"), "{left}");
}

#[test]
fn a_cookie_of_a_wrong_length_is_a_format_error() {
    let field = Field::new();
    for octets in [1, 7, 9, 15, 41, 60] {
        let option = format!("+ednsopt=10:{}", "ab".repeat(octets));
        let answer = field.dig(1, &["+nocookie", &option, "A", "vp0.test.internal"]);
        assert!(answer.contains("status: FORMERR"), "{octets}: {answer}");
    }
}

#[test]
fn cookies_outlive_a_restart_and_replicas_share_a_secret() {
    let network = Network::new(1);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let config = common::zones(&[(
        "c.toml",
        "[cookies]\nsecrets = [\"00112233445566778899aabbccddeeff\"]\n",
    )]);
    let config = config.path().join("c.toml");
    let ask = |cookie: &str| {
        let option = format!("+cookie={cookie}");
        let arguments = [
            "dig",
            "@10.77.0.1",
            "+ignore",
            "+nobadcookie",
            &option,
            "TXT",
            "a.test.internal",
        ];
        network.run(1, &arguments)
    };
    for configured in [false, true] {
        let mut given = None;
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        for data in [
            data.path(),
            if configured {
                other.path()
            } else {
                data.path()
            },
        ] {
            let mut options = Options::new(zones.path(), data);
            options.namespace = Some(network.name(0));
            options.listen = vec!["0.0.0.0:53".into()];
            if configured {
                options.more = vec!["--config".into(), config.to_str().unwrap().into()];
            }
            let service = Service::start_with(&options);
            match &given {
                None => given = Some(cookie(&ask("0123456789abcdef")).0),
                Some(cookie) => assert!(ask(cookie).contains("id=vp0")),
            }
            assert_eq!(service.terminate(), Some(0));
        }
    }
}

#[test]
fn forged_registrations_change_nothing_and_gain_nothing() {
    // A single answer; the total rate is limited as well (tests/server/limits.rs).
    let field = Field::with_config("[limits]\nresponses_per_second = 0\n");
    // Queries like those of dig, alternately without a cookie, with a client
    // cookie, and with a made-up server cookie.
    let script = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
sent = received = 0
for i in range(10000):
    name = b"".join(bytes([len(l)]) + l for l in [b"forged-%d" % i, b"test", b"internal"]) + b"\0"
    cookie = [b"", struct.pack(">HH", 10, 8) + b"12345678",
              struct.pack(">HH", 10, 24) + b"12345678\1\0\0\0" + b"x" * 12][i % 3]
    subnet = struct.pack(">HHHBB", 8, 8, 1, 32, 0) + bytes([10, 77, 0, 11])
    options = subnet + cookie
    packet = struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 1) + name + struct.pack(">HH", 16, 1)
    packet += b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(options)) + options
    s.sendto(packet, ("10.77.0.1", 53))
    sent += len(packet)
    received += len(s.recv(4096))
print(sent, received)
"#;
    // Once before the measurement, so that every buffer has been used.
    field.network.run(1, &["python3", "-c", script]);
    let before = field.service.resident();
    let printed = field.network.run(1, &["python3", "-c", script]);
    let mut numbers = printed
        .split_whitespace()
        .map(|number| number.parse::<f64>().unwrap());
    let (sent, received) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(received / sent <= 1.35, "{received} octets for {sent}");
    assert!(field.peers().contains("peers=0"), "{}", field.peers());
    let after = field.service.resident();
    assert!(
        after <= before + 2_048,
        "{before} kB before, {after} kB after"
    );
}
