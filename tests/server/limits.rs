//! Limits for each source: forged floods, and invented hosts.

use std::{
    fs,
    io::Read as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::common::namespaces::Network;
use crate::common::{self, Options, Service, eventually, simple_zone, value_in, zones};

/// The service in namespace 0, and three hosts: the attacker, its victim, and a
/// bystander.
struct Field {
    service: Service,
    network: Network,
    _files: [tempfile::TempDir; 3],
}

const FLOODING: usize = 1;
const VICTIM: usize = 2;
const OTHER: usize = 3;

impl Field {
    fn new(limits: &str, zone: &str) -> Self {
        let network = Network::new(3);
        let other = zone.replace("test.internal", "other.internal");
        let zones = zones(&[("t.toml", zone), ("o.toml", &other)]);
        let config = common::zones(&[("c.toml", &format!("[limits]\n{limits}\n"))]);
        let path = config.path().join("c.toml");
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["0.0.0.0:53".into(), "[::]:53".into()];
        options.more = vec!["--config".into(), path.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        Self {
            service,
            network,
            _files: [zones, config, data],
        }
    }

    fn dig(&self, host: usize, arguments: &[&str]) -> String {
        let base = ["dig", "@10.77.0.1", "+tries=1", "+time=5"];
        self.network.run(host, &[&base[..], arguments].concat())
    }

    fn python(&self, host: usize, script: &str) -> String {
        self.network.run(host, &["python3", "-c", script])
    }
}

/// Sends queries with the source addresses 10.77.0.100 to .199, which belong to
/// the victim, 40 at a time, for a given time; prints their number and size.
const FLOOD: &str = r#"
import socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
name = b"".join(bytes([len(l)]) + l for l in [b"vp0", b"test", b"internal"]) + b"\0"
option = struct.pack(">HH", 10, 8) + b"12345678"
sent = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for _ in range(40):
        dns = struct.pack(">HHHHHH", sent & 0xffff, 0x100, 1, 0, 0, 1)
        dns += name + struct.pack(">HH", 1, 1)
        dns += b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option
        forged = bytes([10, 77, 0, 100 + sent % 100])
        udp = struct.pack(">HHHH", 4000, 53, 8 + len(dns), 0) + dns
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
        raw.sendto(ip + forged + bytes([10, 77, 0, 1]) + udp, ("10.77.0.1", 0))
        sent += 1
    time.sleep(0.01)
print(sent, len(dns))
"#;

/// Receives on port 4000 until nothing has arrived for two seconds; prints the
/// number of responses, their total size, and the number of truncated ones.
const TAKE: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("0.0.0.0", 4000))
s.settimeout(30)
print("ready", flush=True)
answers = octets = truncated = 0
try:
    while True:
        answer = s.recv(4096)
        s.settimeout(2)
        answers += 1
        octets += len(answer)
        truncated += answer[2] >> 1 & 1
        assert not answer[2] & 2 or answer[6:8] == b"\0\0", "a truncated one is empty"
except socket.timeout:
    print(answers, octets, truncated)
"#;

fn numbers(printed: &str) -> Vec<u64> {
    let words = printed.split_whitespace();
    words.map(|word| word.parse().unwrap()).collect()
}

#[test]
fn a_forged_flood_gains_little_and_shuts_nobody_out() {
    const RATE: u64 = 100;
    let zone = simple_zone("", "");
    for slip in [0, 1, 2] {
        let limits = format!("responses_per_second = {RATE}\nslip = {slip}");
        let field = Field::new(&limits, &zone);
        for host in 100..200 {
            let address = format!("10.77.0.{host}/24");
            let arguments = ["ip", "address", "add", &address, "dev", "eth0"];
            field.network.run(VICTIM, &arguments);
        }
        let registered = field.dig(VICTIM, &["TXT", "a.test.internal"]);
        assert!(registered.contains("id=vp0"), "{registered}");
        let cookie = registered.split("; COOKIE: ").nth(1).unwrap();
        let cookie = cookie.split_whitespace().next().unwrap();
        let cookie = format!("+cookie={cookie}");

        let mut taking = field.network.command(VICTIM, "python3");
        let taking = taking.args(["-c", TAKE]).stdout(Stdio::piped());
        let mut taking = taking.spawn().unwrap();
        let mut taken = taking.stdout.take().unwrap();
        let mut ready = [0; 6];
        taken.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        let before = field.service.resident();
        let start = Instant::now();
        let mut flood = field.network.command(FLOODING, "python3");
        let flood = flood.args(["-c", FLOOD, "6"]).stdout(Stdio::piped());
        let flood = flood.spawn().unwrap();
        thread::sleep(Duration::from_secs(1));
        // Clients with a cookie are answered in full at the first attempt, and so
        // are clients that use TCP.
        let mut during = 0;
        while start.elapsed() < Duration::from_secs(5) {
            let proven = ["+ignore", "+nobadcookie", &cookie, "TXT", "a.test.internal"];
            let answer = field.dig(VICTIM, &proven);
            assert!(
                answer.contains("id=vp0") && answer.contains("(UDP)"),
                "{answer}"
            );
            let answer = field.dig(VICTIM, &["+tcp", "TXT", "a.test.internal"]);
            assert!(answer.contains("id=vp0"), "{answer}");
            if slip == 1 {
                // Clients without a cookie as well, since truncation makes them
                // use TCP.
                let answer = field.dig(VICTIM, &["+nocookie", "TXT", "a.test.internal"]);
                assert!(
                    answer.contains("id=vp0") && answer.contains("(TCP)"),
                    "{answer}"
                );
            }
            during += 1;
        }
        assert!(during > 3);
        let flood = flood.wait_with_output().unwrap();
        assert!(flood.status.success(), "{flood:?}");
        let seconds = start.elapsed().as_secs() + 1;
        let mut rest = String::new();
        taken.read_to_string(&mut rest).unwrap();
        assert!(taking.wait().unwrap().success());
        let sent = numbers(&String::from_utf8(flood.stdout).unwrap());
        let (sent, query) = (sent[0], sent[1]);
        let got = numbers(&rest);
        let (answers, octets, truncated) = (got[0], got[1], got[2]);
        println!(
            "slip {slip}: {sent} queries of {query} octets; {answers} answers of {octets} \
             octets, {truncated} of them truncated"
        );
        let full = answers - truncated;
        let most = RATE * 5 + RATE * seconds;
        assert!(sent > 3 * most, "no flood: {sent}");
        assert!((400..=most).contains(&full), "{full} in {seconds} s");
        let slipped = (sent - full).checked_div(slip).unwrap_or_default();
        // A few packets may be lost, or belong to dig.
        assert!(truncated <= slipped + 1, "{truncated}, not {slipped}");
        assert!(truncated >= slipped * 9 / 10, "{truncated}, not {slipped}");
        // A truncated response is the query and 16 octets of server cookie; a
        // full one has a record as well.
        let most = full * (query + 128) + truncated * (query + 16);
        assert!(octets <= most, "{octets} of {most}");
        let after = field.service.resident();
        assert!(after <= before + 2_048, "{before} kB, then {after} kB");
        let lines = || {
            let log = field.service.log();
            let lines = log.lines().filter(|line| line.contains("rate limiting"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        eventually(Duration::from_secs(15), "the log says so", || {
            !lines().is_empty()
        });
        let lines = lines();
        assert!(
            lines[0].contains("rate limiting: 10.77.0.0/24 and perhaps others, "),
            "{lines:?}"
        );
        assert!(lines.len() <= 3, "{lines:?}");
    }
}

#[test]
fn messages_that_cannot_be_read_are_limited_as_well() {
    let field = Field::new("responses_per_second = 20", &simple_zone("", ""));
    let script = r#"
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
start = time.monotonic()
# Two questions, and one of which nothing is there.
for i in range(4000):
    s.sendto(bytes([0, 0, 1, 0, 0, 1 + i % 2, 0, 0, 0, 0, 0, 0]), ("10.77.0.1", 53))
    if i % 40 == 0:
        time.sleep(0.005)
answers = 0
try:
    while True:
        assert s.recv(512)[3] & 15 == 1
        answers += 1
except socket.timeout:
    print(answers, int(time.monotonic() - start) + 1)
"#;
    let printed = numbers(&field.python(FLOODING, script));
    let (answers, seconds) = (printed[0], printed[1]);
    assert!(
        (50..=100 + 20 * seconds).contains(&answers),
        "{answers} in {seconds} s"
    );
}

#[test]
fn a_source_registers_so_many_new_hosts_and_then_one_at_a_time() {
    let limits = "new_hosts_per_source = 3\nnew_host_every = \"1h\"";
    let field = Field::new(limits, &simple_zone("", "limit = 5"));
    let ask = |host, name: &str, more: &[&str]| field.dig(host, &[more, &["TXT", name]].concat());
    for (number, name) in ["a", "b", "c"].iter().enumerate() {
        let answer = ask(FLOODING, &format!("{name}.test.internal"), &[]);
        let id = format!("vp{number}");
        assert_eq!(value_in(&answer, "id"), Some(id), "{answer}");
    }
    for more in [&[][..], &["+tcp"], &["+subnet=10.0.0.9/32"]] {
        let answer = ask(FLOODING, "d.other.internal", more);
        let why = "EDE: 0 (Other): (too many new hosts from your address: \
                   it may register one more every 1h)";
        assert!(answer.contains("status: REFUSED"), "{answer}");
        assert!(answer.contains(why), "{answer}");
    }
    // Known hosts are not affected, even at another address, and others register
    // as usual.
    for (name, id) in [("a", "vp0"), ("b", "vp1"), ("c", "vp2")] {
        let answer = ask(FLOODING, &format!("{name}.test.internal"), &[]);
        assert_eq!(value_in(&answer, "id").as_deref(), Some(id), "{answer}");
    }
    ask(FLOODING, "_leave.a.test.internal", &[]);
    let taken = ask(FLOODING, "a.test.internal", &["+subnet=10.0.0.9/32"]);
    assert_eq!(value_in(&taken, "address").unwrap(), "10.0.0.9:7051");
    for (name, id) in [("d", "vp3"), ("e", "vp4")] {
        let answer = ask(OTHER, &format!("{name}.test.internal"), &[]);
        assert_eq!(value_in(&answer, "id").as_deref(), Some(id), "{answer}");
    }
    // Being refused because the network is full does not count.
    for _ in 0..5 {
        let answer = ask(OTHER, "f.test.internal", &[]);
        assert!(
            answer.contains("all 5 numbers of vp are assigned"),
            "{answer}"
        );
    }
    let answer = ask(OTHER, "f.other.internal", &[]);
    assert_eq!(value_in(&answer, "id").as_deref(), Some("vp0"), "{answer}");
    let answer = ask(OTHER, "g.other.internal", &[]);
    assert!(answer.contains("too many new hosts"), "{answer}");
    let log = || field.service.log();
    eventually(Duration::from_secs(15), "the log says so", || {
        log().contains("too many new hosts: 10.77.0.11/32 and perhaps others, ")
    });
}

#[test]
fn the_hosts_of_a_64_share_what_one_may_register() {
    let limits = "new_hosts_per_source = 1\nnew_host_every = \"1h\"";
    let field = Field::new(limits, &simple_zone("", ""));
    let ask = |host, name| {
        let arguments = ["dig", "@fd77::1", "+tries=1", "+time=5", "TXT", name];
        field.network.run(host, &arguments)
    };
    let answer = ask(FLOODING, "a.test.internal");
    assert!(answer.contains("id=vp0"), "{answer}");
    let answer = ask(OTHER, "b.test.internal");
    assert!(answer.contains("too many new hosts"), "{answer}");
    let answer = field.dig(OTHER, &["TXT", "b.test.internal"]);
    assert!(answer.contains("id=vp1"), "{answer}");
}

/// Like `dig`: a query without a server cookie, and then one with the cookie in
/// the response, repeated if it is lost. All from one address, as behind a node's
/// masquerading, and initially all at once.
#[test]
fn a_thousand_peers_behind_one_address_meet_no_limit() {
    let field = Field::new("", &simple_zone("", ""));
    let script = r#"
import collections, os, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.settimeout(2)
def query(host, cookie):
    name = b"".join(bytes([len(l)]) + l for l in [b"peer-%d" % host, b"test", b"internal"]) + b"\0"
    option = struct.pack(">HH", 10, len(cookie)) + cookie
    return (struct.pack(">HHHHHH", host, 0x100, 1, 0, 0, 1) + name + struct.pack(">HH", 16, 1)
            + b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option)
ids = {}
lost = 0
for _ in range(3):
    cookies = {host: os.urandom(8) for host in range(1000)}
    waiting = collections.deque(cookies)
    asked = set()
    answered = set()
    while len(answered) < 1000:
        # No more at once than socket buffers hold.
        while waiting and len(asked) < 100:
            host = waiting.popleft()
            asked.add(host)
            s.sendto(query(host, cookies[host]), ("10.77.0.1", 53))
        try:
            answer = s.recv(4096)
        except socket.timeout:
            lost += len(asked)
            assert lost < 1000, "too many are lost"
            waiting.extend(asked)
            asked.clear()
            continue
        host = struct.unpack(">H", answer[:2])[0]
        asked.discard(host)
        assert not answer[2] & 2, "truncated"
        code = answer[3] & 15
        at = answer.find(cookies[host][:8] )
        if code == 7:
            # The low bits of BADCOOKIE.
            cookies[host] = answer[at:at + 24]
            waiting.append(host)
        else:
            assert code == 0, code
            at = answer.index(b"id=vp")
            given = answer[at + 3:at + answer[at - 1]]
            assert ids.setdefault(host, given) == given
            answered.add(host)
print(len(ids), len(set(ids.values())), lost)
"#;
    let printed = field.python(FLOODING, script);
    println!("hosts, IDs, queries that were lost: {printed}");
    assert_eq!(numbers(&printed)[..2], [1_000, 1_000], "{printed}");
    // A limit would have been logged by now.
    thread::sleep(Duration::from_secs(11));
    let log = field.service.log();
    assert!(!log.contains("limiting"), "{log}");
    assert!(!log.contains("too many"), "{log}");
}

#[test]
fn a_sequence_that_states_no_limit_has_one() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let zone = param_daemon::zone::read(&zones.path().join("t.toml")).unwrap();
    assert_eq!(zone.rules.sequences[0].limit, 1_048_576);
    let text = simple_zone("", "limit = 2000000");
    fs::write(zones.path().join("t.toml"), text).unwrap();
    let zone = param_daemon::zone::read(&zones.path().join("t.toml")).unwrap();
    assert_eq!(zone.rules.sequences[0].limit, 2_000_000);
}
