//! 200 queries each to BIND and Unbound, directly and through the service, with
//! the same answers.
//!
//! BIND serves the zones, signed and unsigned; Unbound validates them. The
//! outputs of `dig` are compared line by line, except for what belongs to one
//! connection: the ID, the time, the size, and the address of its own server.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Field;
use crate::common::run;

/// A program that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// BIND, and Unbound in front of it, on loopback addresses.
struct Resolvers {
    named: SocketAddr,
    unbound: SocketAddr,
    _running: [Running; 2],
    directory: tempfile::TempDir,
}

/// An address where nothing listens by UDP or TCP.
fn free_address() -> SocketAddr {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

/// The records of a zone, with answers of all kinds.
fn zone() -> String {
    let mut zone = String::from(
        "$TTL 3600\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A 192.0.2.53\n\
         ns AAAA 2001:db8::53\n@ MX 10 mail\n@ MX 20 backup.elsewhere.test.\nmail A 192.0.2.25\n\
         @ TXT \"v=spf1 -all\"\n@ CAA 0 issue \"ca.example\"\n\
         _sip._tcp SRV 1 2 5060 sip1\n_sip._tcp SRV 2 2 5060 sip2\nsip1 A 192.0.2.61\n\
         sip2 A 192.0.2.62\nsip2 AAAA 2001:db8::62\n\
         alias CNAME _sip._tcp\nchain CNAME alias\nlost CNAME nobody\nout CNAME a.elsewhere.test.\n\
         tree DNAME other\nx.other A 192.0.2.70\n*.wild TXT \"for all\"\n*.wild A 192.0.2.71\n\
         MiXed A 192.0.2.72\nnaptr NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .\n\
         _443._tcp TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
         svc HTTPS 1 . alpn=h2 ipv4hint=192.0.2.80\nsvc SVCB 2 mail port=8053\n\
         odd TYPE65400 \\# 4 c0ffee00\na.b.deep A 192.0.2.73\nhost HINFO \"a\" \"b\"\n\
         sub NS ns.sub\nns.sub A 192.0.2.54\nloc LOC 52 0 0 N 4 0 0 E 0m\n\
         zero 0 A 192.0.2.74\nlong 2147483647 A 192.0.2.75\n",
    );
    // BIND accepts 100 records with one name and type.
    for (name, records, strings) in [("middle", 5, 1), ("large", 30, 1), ("huge", 90, 3)] {
        for number in 0..records {
            let strings = format!(" \"{number:0200}\"").repeat(strings);
            zone.push_str(&format!("{name} TXT{strings}\n"));
        }
    }
    for number in 0..20 {
        zone.push_str(&format!("many A 198.51.100.{number}\n"));
    }
    zone
}

/// The zones that BIND serves.
const ZONES: [&str; 4] = ["plain.test", "elsewhere.test", "signed.test", "bogus.test"];

/// The queries for each zone: a name and a type.
const QUESTIONS: [(&str, &str); 48] = [
    ("", "SOA"),
    ("", "NS"),
    ("", "MX"),
    ("", "TXT"),
    ("", "CAA"),
    ("", "DNSKEY"),
    ("", "NSEC"),
    ("", "RRSIG"),
    ("", "ANY"),
    ("", "A"),
    ("ns", "A"),
    ("ns", "AAAA"),
    ("ns", "PTR"),
    ("mail", "A"),
    ("mail", "DS"),
    ("_sip._tcp", "SRV"),
    ("_sip._tcp", "A"),
    ("alias", "SRV"),
    ("alias", "A"),
    ("alias", "CNAME"),
    ("chain", "SRV"),
    ("chain", "TXT"),
    ("lost", "A"),
    ("out", "A"),
    ("x.tree", "A"),
    ("y.tree", "A"),
    ("tree", "DNAME"),
    ("one.wild", "TXT"),
    ("Two.Wild", "A"),
    ("one.wild", "AAAA"),
    ("mIxEd", "A"),
    ("MIXED", "AAAA"),
    ("naptr", "NAPTR"),
    ("_443._tcp", "TLSA"),
    ("svc", "HTTPS"),
    ("svc", "SVCB"),
    ("odd", "TYPE65400"),
    ("odd", "TYPE65401"),
    ("deep", "A"),
    ("a.b.deep", "A"),
    ("host", "HINFO"),
    ("loc", "LOC"),
    ("zero", "A"),
    ("long", "A"),
    ("nobody", "A"),
    ("middle", "TXT"),
    ("large", "TXT"),
    ("huge", "TXT"),
];

/// Queried once each, in addition to those of the zones.
const OTHERS: [&str; 8] = [
    "bogus.test A",
    "bogus.test SOA",
    "nobody.bogus.test A",
    "a.elsewhere.test A",
    "refused.example A",
    "many.signed.test A +dnssec",
    "many.signed.test A +cdflag",
    "ns.sub.signed.test A",
];

/// The lines for `dig -f`: 200 questions.
fn questions() -> Vec<String> {
    let mut lines = Vec::new();
    for (number, (name, rtype)) in QUESTIONS.into_iter().enumerate() {
        let dot = if name.is_empty() { "" } else { "." };
        for (zone, options) in [
            ("signed", "+noadflag"),
            ("signed", "+dnssec"),
            ("signed", "+dnssec +tcp +cdflag"),
            ("plain", ["+noedns", "+dnssec +notcp", "+tcp"][number % 3]),
        ] {
            lines.push(format!("{name}{dot}{zone}.test {rtype} {options}"));
        }
    }
    lines.extend(OTHERS.map(str::to_owned));
    lines
}

impl Resolvers {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("plain.test"), zone()).unwrap();
        let elsewhere = "$TTL 60\n@ SOA ns h 1 1 1 1 60\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.99\n";
        fs::write(path.join("elsewhere.test"), elsewhere).unwrap();
        let signed = sign(path, "signed.test", &zone());
        // The trust anchor that Unbound has for this zone is wrong.
        sign(path, "bogus.test", elsewhere);
        let named = free_address();
        let unbound = free_address();
        let zones =
            ZONES.map(|zone| format!("zone \"{zone}\" {{ type primary; file \"{zone}\"; }};\n"));
        let conf = format!(
            "controls {{ }};\noptions {{\n directory \"{}\";\n pid-file none;\n lock-file none;\n \
             session-keyfile none;\n dnssec-validation no;\n recursion no;\n \
             listen-on port {} {{ 127.0.0.1; }};\n listen-on-v6 {{ none; }};\n \
             rrset-order {{ order none; }};\n}};\n{}",
            path.display(),
            named.port(),
            zones.concat()
        );
        fs::write(path.join("named.conf"), conf).unwrap();
        let stubs = ZONES.map(|zone| {
            let port = named.port();
            format!("stub-zone:\n name: \"{zone}\"\n stub-addr: 127.0.0.1@{port}\n")
        });
        let conf = format!(
            "server:\n directory: \"{}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
             use-syslog: no\n interface: 127.0.0.1@{}\n do-not-query-localhost: no\n \
             root-hints: \"\"\n local-zone: \"test.\" nodefault\n local-zone: \"refused.example.\" refuse\n \
             trust-anchor: \"{signed}\"\n trust-anchor: \"bogus.test. IN DS 1 13 2 {}\"\n \
             ede: yes\n rrset-roundrobin: no\n minimal-responses: no\n \
             do-not-query-address: 192.0.2.0/24\n do-not-query-address: 2001:db8::/32\n\
             {}remote-control:\n control-enable: no\n",
            path.display(),
            unbound.port(),
            "ab".repeat(32),
            stubs.concat()
        );
        fs::write(path.join("unbound.conf"), conf).unwrap();
        let running = [
            start(path, "named", &["-g", "-c", "named.conf"]),
            start(path, "unbound", &["-dp", "-c", "unbound.conf"]),
        ];
        let resolvers = Self {
            named,
            unbound,
            _running: running,
            directory,
        };
        for (server, name) in [(named, "named"), (unbound, "unbound")] {
            resolvers.wait_for(server, name);
        }
        resolvers
    }

    /// Waits until a server answers.
    fn wait_for(&self, server: SocketAddr, name: &str) {
        let start = Instant::now();
        loop {
            let answer = ask(server, &["+tries=1", "+time=2", "SOA", "plain.test"]);
            if answer.contains("status: NOERROR") {
                return;
            }
            let log = fs::read_to_string(self.directory.path().join(name)).unwrap();
            let waited = start.elapsed() < Duration::from_secs(30);
            assert!(waited, "{name} does not answer: {answer}\n{log}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Signs a zone. Returns the DS record of its key.
fn sign(directory: &Path, origin: &str, zone: &str) -> String {
    let plain = directory.join(format!("{origin}.plain"));
    fs::write(&plain, zone).unwrap();
    let at = directory.to_str().unwrap();
    let key = run(
        "dnssec-keygen",
        &["-q", "-K", at, "-f", "KSK", "-a", "ECDSAP256SHA256", origin],
    );
    let signed = directory.join(origin);
    run(
        "dnssec-signzone",
        &[
            "-q",
            "-z",
            "-S",
            "-K",
            at,
            "-d",
            at,
            "-o",
            origin,
            "-f",
            signed.to_str().unwrap(),
            plain.to_str().unwrap(),
        ],
    );
    let key = directory.join(format!("{}.key", key.trim()));
    let ds = run("dnssec-dsfromkey", &["-2", key.to_str().unwrap()]);
    ds.trim().to_owned()
}

fn start(directory: &Path, program: &str, arguments: &[&str]) -> Running {
    let log = fs::File::create(directory.join(program)).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}): see scripts/test"));
    Running(child)
}

fn ask(server: SocketAddr, arguments: &[&str]) -> String {
    let at = format!("@{}", server.ip());
    let port = server.port().to_string();
    let base = [at.as_str(), "-p", &port];
    let output = Command::new("dig")
        .args(base)
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The output of `dig` for each query, without what belongs to one connection.
fn answers(server: SocketAddr, file: &Path, with_times: bool) -> Vec<String> {
    let file = file.to_str().unwrap();
    let batch = ["+tries=1", "+time=10", "+nocookie", "+noall", "+comments"];
    let sections = [
        "+question",
        "+answer",
        "+authority",
        "+additional",
        "-f",
        file,
    ];
    let printed = ask(server, &[&batch[..], &sections].concat());
    let replies = printed.split(";; Got answer:\n").skip(1);
    replies.map(|reply| comparable(reply, with_times)).collect()
}

fn comparable(reply: &str, with_times: bool) -> String {
    let lines = reply.lines().filter(|line| !line.trim().is_empty());
    let comparable = lines.map(|line| match line.split_once(", id: ") {
        Some((start, _)) => start.to_owned(),
        None if line.starts_with(';') || with_times => line.to_owned(),
        // The second column is the remaining TTL in a cache.
        None => {
            let columns = line.split_whitespace().enumerate();
            let others = columns.filter(|(column, _)| *column != 1);
            others.map(|(_, text)| format!("{text} ")).collect()
        }
    });
    comparable.map(|line| line + "\n").collect()
}

/// Without the extended error in which the service reports a failed upstream.
fn without_ours(answer: &str, upstream: SocketAddr) -> String {
    let ours = format!("({upstream} answered ");
    let lines = answer.lines().filter(|line| !line.contains(&ours));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn bind_and_unbound_say_the_same_directly_and_through_the_service() {
    let resolvers = Resolvers::start();
    let questions = questions();
    assert_eq!(questions.len(), 200);
    let file = resolvers.directory.path().join("questions");
    fs::write(&file, questions.join("\n") + "\n").unwrap();
    for (upstream, caches) in [(resolvers.named, false), (resolvers.unbound, true)] {
        let field = Field::new(&[upstream]);
        if caches {
            // Both then use a filled cache.
            answers(upstream, &file, false);
        }
        let direct = answers(upstream, &file, !caches);
        let through = answers(field.service.address, &file, !caches);
        assert_eq!(direct.len(), 200, "{upstream}");
        assert_eq!(through.len(), 200, "{upstream}");
        for (question, (direct, through)) in questions.iter().zip(direct.iter().zip(&through)) {
            let through = without_ours(through, upstream);
            assert_eq!(direct, &through, "{question} to {upstream}");
        }
        let all = direct.concat();
        // The queries cover all kinds of answers.
        for kind in [
            "RRSIG",
            "NSEC",
            "NXDOMAIN",
            "REFUSED",
            "DNAME",
            "\\# 4 C0FFEE00",
        ] {
            assert!(all.contains(kind), "{upstream} never said {kind}");
        }
        for kind in [" ad", "SERVFAIL", "EDE: "] {
            assert_eq!(all.contains(kind), caches, "{kind} of {upstream}");
        }
    }
}
