//! DNS over TLS (RFC 7858).

mod field;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::common::namespaces::Network;
use crate::common::{self, attempt, eventually, txt_query, value_in};
use field::{Field, NAME, serial};
use hickory_proto::op::ResponseCode;

#[test]
fn dig_and_kdig_ask_by_tls_and_verify_the_service() {
    let field = Field::new("");
    let answer = field.ask(&["TXT", "a.test.internal"]);
    assert!(answer.contains("(TLS)"), "{answer}");
    assert_eq!(value_in(&answer, "id").unwrap(), "vp0", "{answer}");
    for (authority, name) in [("theirs", NAME), ("ours", "other.internal")] {
        let answer = field.dig(authority, name, &["TXT", "b.test.internal"]);
        assert!(
            answer.contains("verification") && !answer.contains("NOERROR"),
            "{answer}"
        );
    }
    let port = format!("{}", field.address().port());
    let kdig = |authority: &str, arguments: &[&str]| {
        let authority = field.certificates.path(&format!("{authority}.pem"));
        let authority = format!("+tls-ca={authority}");
        let name = format!("+tls-host={NAME}");
        let base = ["@127.0.0.1", "-p", &port, "+retry=0", &authority, &name];
        attempt("kdig", &[&base[..], arguments].concat())
    };
    let zone = kdig("ours", &["AXFR", "test.internal"]);
    let zone = String::from_utf8(zone.stdout).unwrap();
    assert_eq!(zone.matches("\tSOA\t").count(), 2, "{zone}");
    assert!(zone.contains("_env.vp0.test.internal."), "{zone}");
    let padded = kdig("ours", &["+padding", "TXT", "test.internal"]);
    let padded = String::from_utf8(padded.stdout).unwrap();
    assert!(
        padded.contains("\"peers=1\"") && padded.contains("TLS session (TLS1.3)"),
        "{padded}"
    );
    let refused = kdig("theirs", &["TXT", "test.internal"]);
    assert!(!refused.status.success(), "{refused:?}");
}

#[test]
fn tls_is_of_a_version_that_is_safe_and_has_its_name() {
    let field = Field::new("");
    for (version, shown) in [("-tls1_2", "New, TLSv1.2"), ("-tls1_3", "New, TLSv1.3")] {
        let said = field.handshake(&[version, "-alpn", "dot"]);
        assert!(
            said.contains(shown) && said.contains("ALPN protocol: dot"),
            "{said}"
        );
    }
    let without = field.handshake(&[]);
    assert!(
        without.contains("No ALPN negotiated") && without.contains("New, TLSv1.3"),
        "{without}"
    );
    for arguments in [&["-tls1_1"][..], &["-alpn", "h2"]] {
        let said = field.handshake(arguments);
        assert!(said.contains("no peer certificate available"), "{said}");
        assert!(said.contains(" alert "), "{said}");
    }
}

/// A TLS connection verifies the source like a TCP connection. Without `listen`,
/// the service listens on port 853 of all addresses.
#[test]
fn a_host_registers_by_tls_from_elsewhere() {
    let network = Network::new(2);
    let field = Field::within(Some(network.name(0)), "");
    let ports: Vec<u16> = field.service.tls.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [853, 853]);
    for (host, server) in [(1, "@10.77.0.1"), (2, "@fd77::1")] {
        let authority = format!("+tls-ca={}", field.certificates.path("ours.pem"));
        let name = format!("+tls-hostname={NAME}");
        let own = format!("10.77.0.{}", 10 + host);
        let subnet = format!("+subnet={own}/32");
        let peer = format!("peer-{host}.test.internal");
        let arguments = [
            "dig",
            server,
            "+tls",
            "+nocookie",
            &authority,
            &name,
            &subnet,
            "TXT",
            &peer,
        ];
        let answer = network.run(host, &arguments);
        let address = value_in(&answer, "address").unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(address, format!("{own}:7051"));
    }
    let apex = network.run(0, &["dig", "@127.0.0.1", "+short", "TXT", "test.internal"]);
    assert!(apex.contains("peers=2"), "{apex}");
}

#[test]
fn queries_of_one_connection_are_all_answered_and_then_it_is_closed() {
    const QUERIES: u16 = 300;
    let field = Field::new("");
    let mut client = field.connect();
    for id in 0..QUERIES {
        let name = match id % 2 {
            0 => format!("h{id}.test.internal"),
            _ => "test.internal".to_owned(),
        };
        client.write(&txt_query(id, &name, None));
    }
    // The client has closed its side, and is still answered.
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    let mut answered = BTreeSet::new();
    for _ in 0..QUERIES {
        let reply = client.read();
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        answered.insert(reply.metadata.id);
    }
    assert_eq!(answered.len(), usize::from(QUERIES));
    // An end without close_notify would be an error here.
    assert_eq!(client.0.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_certificate_that_changes_is_given_to_new_connections() {
    const SOON: Duration = Duration::from_secs(30);
    let field = Field::new("");
    let certificates = &field.certificates;
    let shown = |name: &str| serial(&fs::read_to_string(certificates.file(name)).unwrap());
    let warnings = || field.service.log().matches(" WARN ").count();
    let first = shown("server.pem");
    assert_eq!(field.serial(), first);
    let mut earlier = field.connect();
    assert!(earlier.asks());

    certificates.issue("next", "ours", NAME);
    certificates.replace("next", "server");
    let next = shown("next.pem");
    eventually(SOON, "the next certificate", || {
        // The connection is not idle in the meantime.
        assert!(earlier.asks());
        field.serial() == next
    });
    assert!(earlier.asks());
    assert!(field.service.log().contains("server.pem was reloaded"));
    let before = warnings();

    // A key that does not match the certificate, and then half a certificate.
    certificates.issue("third", "ours", NAME);
    fs::copy(
        certificates.file("third.key"),
        certificates.file("server.key"),
    )
    .unwrap();
    eventually(SOON, "the log says what is wrong", || {
        field.service.log().contains("server.key is not the key of")
    });
    let third = fs::read_to_string(certificates.file("third.pem")).unwrap();
    fs::write(certificates.file("server.pem"), &third[..third.len() / 2]).unwrap();
    eventually(SOON, "the log says what is wrong", || {
        field
            .service
            .log()
            .contains("server.pem is not a valid PEM file")
    });
    assert_eq!(field.serial(), next);
    assert!(field.ask(&["TXT", "test.internal"]).contains("NOERROR"));
    // Each is logged once, however often the files are checked.
    thread::sleep(Duration::from_secs(11));
    assert_eq!(warnings(), before + 2, "{}", field.service.log());

    fs::write(certificates.file("server.pem"), &third).unwrap();
    let third = shown("third.pem");
    eventually(SOON, "the third certificate", || field.serial() == third);
    let log = field.service.log();
    assert_eq!(log.matches("server.pem was reloaded").count(), 2, "{log}");
    assert_eq!(warnings(), before + 2, "{log}");
}

#[test]
fn clients_show_a_certificate_where_they_must() {
    for required in [false, true] {
        let field = Field::with_clients(required);
        let ask = |client: Option<&str>| {
            let arguments = client.map(|client| {
                let file = |ending| field.certificates.path(&format!("{client}.{ending}"));
                let certificate = format!("+tls-certfile={}", file("pem"));
                [certificate, format!("+tls-keyfile={}", file("key"))]
            });
            let arguments = arguments.iter().flatten().map(String::as_str);
            let arguments: Vec<&str> = arguments.chain(["TXT", "test.internal"]).collect();
            field.ask(&arguments).contains("status: NOERROR")
        };
        assert!(ask(Some("friend")));
        assert!(!ask(Some("stranger")));
        assert_eq!(ask(None), !required);
    }
}

#[test]
fn what_is_no_tls_does_no_harm() {
    let field = Field::new("");
    let quiet = field.service.log_of_others();
    let query = txt_query(1, "test.internal", None);
    let plain = [&[0, query.len() as u8], query.as_slice()].concat();
    let hello: &[u8] = &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    let larger: &[u8] = &[22, 3, 3, 255, 255];
    let noise: Vec<u8> = (0..9_999_u32)
        .map(|k| (k.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for octets in [
        &plain,
        hello,
        larger,
        b"GET / HTTP/1.1\r\n\r\n",
        &noise,
        &[],
    ] {
        let mut stream = TcpStream::connect(field.address()).unwrap();
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).unwrap();
        // The connection may be closed already, as it should be.
        let _ = stream.write_all(octets);
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        // At most an alert.
        assert!(said.len() <= 7, "{said:?} to {octets:?}");
    }
    let port = field.address().port().to_string();
    let plain = [
        "@127.0.0.1",
        "-p",
        &port,
        "+tcp",
        "+tries=1",
        "+time=3",
        "TXT",
        "test.internal",
    ];
    assert!(!attempt("dig", &plain).status.success());
    // A client that disconnects in the middle, after the handshake.
    let mut client = field.connect();
    assert!(client.asks());
    client.0.sock.shutdown(Shutdown::Both).unwrap();
    assert!(field.ask(&["TXT", "test.internal"]).contains("NOERROR"));
    let log = field.service.log_of_others();
    assert_eq!(log, quiet, "strangers do not fill the log");
}

#[test]
fn who_says_nothing_is_cut_off() {
    let field = Field::new("");
    let begun = Instant::now();
    let mut silent = TcpStream::connect(field.address()).unwrap();
    let patience = Some(Duration::from_secs(20));
    silent.set_read_timeout(patience).unwrap();
    // A client hello that arrives slowly.
    let mut slow = TcpStream::connect(field.address()).unwrap();
    slow.set_read_timeout(patience).unwrap();
    slow.write_all(&[22, 3, 1, 2, 0]).unwrap();
    let mut idle = field.connect();
    assert!(idle.asks());
    thread::sleep(Duration::from_secs(5));
    slow.write_all(&[1]).unwrap();
    for stream in [&mut silent, &mut slow] {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
    assert_eq!(idle.0.read(&mut [0; 1]).unwrap(), 0);
    // Not before the time limit for a message has passed.
    assert!(begun.elapsed() > Duration::from_secs(9));
}

#[test]
fn the_service_ends_while_connections_are_open() {
    let field = Field::new("");
    let _silent = TcpStream::connect(field.address()).unwrap();
    let mut idle = field.connect();
    assert!(idle.asks());
    common::signal(field.service.child.id(), "TERM");
    assert_eq!(idle.0.read(&mut [0; 1]).unwrap(), 0);
    eventually(Duration::from_secs(8), "the service ends", || {
        field.service.log().contains("stopped by SIGTERM")
    });
    let log = field.service.log();
    assert!(!log.contains("were not answered"), "{log}");
}

#[test]
fn connections_with_tls_and_without_count_together() {
    let field = Field::new("");
    let connections: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(field.address()).unwrap())
        .collect();
    let from = |source: &str, arguments: &[&str]| {
        let base = ["-b", source, "+tcp", "TXT", "test.internal"];
        let server = format!("@{}", field.service.address.ip());
        let port = field.service.port().to_string();
        let server = [server.as_str(), "-p", &port, "+tries=1", "+time=3"];
        attempt("dig", &[&server[..], &base, arguments].concat())
            .status
            .success()
    };
    // The least active connections make room, for other addresses and for the
    // same one.
    assert!(from("127.0.0.1", &[]) && from("127.0.0.2", &[]));
    let is_closed = |mut stream: &TcpStream| {
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0)) || stream.take_error().unwrap().is_some()
    };
    let closed = || {
        connections
            .iter()
            .filter(|stream| is_closed(stream))
            .count()
    };
    eventually(Duration::from_secs(5), "the oldest are closed", || {
        closed() >= 44
    });
}
