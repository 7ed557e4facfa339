//! Limits of zone transfers.

use std::{
    fs,
    io::{Read, Write as _},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::common::certificates::Certificates;
use crate::common::{
    Options, PARAMD, Service, attempt, check_configuration, eventually, pipe,
    rejected_configuration, simple_zone, zones,
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use tempfile::TempDir;

/// The zone, about 7 MiB, exceeds the buffers of a socket.
const PEERS: u32 = 20_000;

const SOON: Duration = Duration::from_secs(20);

/// A service with a large zone, by TLS too.
struct Field {
    service: Service,
    _certificates: Certificates,
    _zones: TempDir,
    _data: TempDir,
}

impl Field {
    fn new(limits: &str) -> Self {
        Self::of(PEERS, limits)
    }

    fn of(peers: u32, limits: &str) -> Self {
        let certificates = Certificates::new();
        certificates.authority("ours");
        certificates.issue("server", "ours", "dns.test.internal");
        let tls = "listen = [\"127.0.0.1:0\"]\ncertificate = \"server.pem\"\nkey = \"server.key\"";
        certificates.write("c.toml", &format!("[limits]\n{limits}\n[tls]\n{tls}\n"));
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let path = data.path().to_str().unwrap();
        let restored = pipe(PARAMD, &["restore", "-", "--data", path], &dump(peers));
        assert!(restored.status.success(), "{restored:?}");
        let mut options = Options::new(zones.path(), data.path());
        options.more = vec!["--config".into(), certificates.path("c.toml")];
        Self {
            service: Service::start_with(&options),
            _certificates: certificates,
            _zones: zones,
            _data: data,
        }
    }

    /// `paramd dump`, which transfers the zone: the number of lines, or the
    /// error.
    fn dump(&self) -> Result<usize, String> {
        let server = self.service.address.to_string();
        let dump = attempt(PARAMD, &["dump", "test.internal", "--server", &server]);
        match dump.status.success() {
            true => Ok(String::from_utf8(dump.stdout).unwrap().lines().count()),
            false => Err(String::from_utf8(dump.stderr).unwrap()),
        }
    }

    /// A client that has started a transfer and does not read.
    fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.service.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(&query()).unwrap();
        assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
        stream
    }

    /// The nice values of the threads with this name.
    fn threads(&self, name: &str) -> Vec<i64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.service.child.id())).unwrap();
        // A thread may end in the meantime.
        let stats =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        stats
            .filter_map(|stat| {
                let (head, fields) = stat.rsplit_once(") ")?;
                let (_, thread) = head.split_once(" (")?;
                let nice = fields.split(' ').nth(16)?.parse().unwrap();
                (thread == name).then_some(nice)
            })
            .collect()
    }

    fn log_has(&self, times: usize, text: &str) -> bool {
        self.service.log().matches(text).count() == times
    }
}

/// All peers, as `paramd dump` writes them.
fn dump(peers: u32) -> String {
    let peers: Vec<String> = (0..peers)
        .map(|number| {
            let address = Ipv4Addr::from(0x0a00_0000 + number);
            format!(
                "{{\"host\":\"host-{number}\",\"sequence\":\"vp\",\"number\":{number},\
                 \"role\":\"mixed\",\"source\":\"{address}\",\"address\":\"{address}\"}}"
            )
        })
        .collect();
    let peers = peers.join(",");
    format!("{{\"version\":1,\"origin\":\"test.internal.\",\"serial\":1,\"peers\":[{peers}]}}")
}

/// A query for the zone, with its length.
fn query() -> Vec<u8> {
    let mut message = Message::new(9, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("test.internal.").unwrap();
    message.add_query(Query::query(name, RecordType::AXFR));
    let octets = message.to_vec().unwrap();
    [&(octets.len() as u16).to_be_bytes(), octets.as_slice()].concat()
}

/// Reads messages until the connection ends. Returns the number of octets, and
/// whether the zone was complete.
fn take_all(mut stream: impl Read, pause: Duration) -> (usize, bool) {
    let (mut octets, mut soas) = (0, 0);
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut message).is_err() {
            break;
        }
        octets += 2 + message.len();
        let message = Message::from_vec(&message).unwrap();
        let records = message.answers.iter();
        soas += records
            .filter(|record| record.record_type() == RecordType::SOA)
            .count();
        if soas == 2 {
            return (octets, true);
        }
        thread::sleep(pause);
    }
    (octets, false)
}

#[test]
fn a_zone_beyond_the_size_is_broken_off_and_a_smaller_one_is_not() {
    let field = Field::new("transfer_mebibytes = 1");
    let (octets, whole) = take_all(field.begin(), Duration::ZERO);
    assert!(!whole);
    // All messages but the one that would have exceeded the limit.
    assert!((1 << 20) - 65_537 < octets && octets <= 1 << 20, "{octets}");
    let said = field.dump().unwrap_err();
    assert!(said.contains("was interrupted"), "{said}");
    let line = "the transfer of test.internal to 127.0.0.1:";
    assert!(field.log_has(2, line), "{}", field.service.log());
    let line = "it exceeds the limit of 1 MiB";
    assert!(field.log_has(2, line), "{}", field.service.log());

    let field = Field::new("transfer_mebibytes = 64");
    assert!(field.dump().unwrap() > PEERS as usize);
    let (octets, whole) = take_all(field.begin(), Duration::ZERO);
    assert!(whole && octets > 4 << 20, "{octets}");
    assert!(field.log_has(0, " WARN "), "{}", field.service.log());
}

#[test]
fn a_transfer_beyond_the_time_is_broken_off_however_it_is_read() {
    let field = Field::new("transfer_time = \"2s\"");
    let nothing = field.begin();
    // Reads a little at a time: 16 kB, and again.
    let little = field.begin();
    let little = thread::spawn(move || take_all(little, Duration::from_millis(20)));
    // By TLS, without reading.
    let address = field.service.tls[0].to_string();
    let mut secure = std::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let stdin = secure.stdin.as_mut().unwrap();
    stdin.write_all(&query()).unwrap();
    let line = "it exceeds the limit of 2s";
    eventually(SOON, "three transfers are broken off", || {
        field.log_has(3, line)
    });
    let (octets, whole) = take_all(nothing, Duration::ZERO);
    assert!(octets > 0 && !whole);
    let (_, whole) = take_all(secure.stdout.take().unwrap(), Duration::ZERO);
    assert!(!whole);
    secure.kill().unwrap();
    secure.wait().unwrap();
    drop(field);
    assert!(!little.join().unwrap().1);
}

#[test]
fn no_more_transfers_run_at_once_than_there_may() {
    let field = Field::new("transfers = 2\ntransfer_time = \"1h\"");
    let (first, _second) = (field.begin(), field.begin());
    let said = field.dump().unwrap_err();
    assert!(said.contains("too many transfers are running"), "{said}");
    let answer = field.service.dig(&["+tcp", "AXFR", "test.internal"]);
    assert!(answer.contains("Transfer failed"), "{answer}");
    // Nothing else waits for them.
    let apex = field.service.short(&["+tcp", "TXT", "test.internal"]);
    assert!(apex[0].contains("peers="), "{apex:?}");
    // A client that disconnects makes room, and so does a transfer that ends.
    drop(first);
    for _ in 0..3 {
        eventually(SOON, "there is room", || field.dump().is_ok());
    }
}

#[test]
fn a_transfer_gives_way_on_a_thread_that_ends_with_its_client() {
    let field = Field::new("transfer_time = \"1h\"");
    assert!(field.threads("transfer").is_empty());
    let (first, second) = (field.begin(), field.begin());
    // The threads that answer have the nice value of this process, which need not
    // be 0.
    let nice = field.threads("paramd")[0];
    let making = field.threads("transfer");
    assert!(
        making.len() == 2 && making.iter().all(|it| *it > nice),
        "{nice} {making:?}"
    );
    drop(first);
    eventually(SOON, "one thread has ended", || {
        field.threads("transfer").len() == 1
    });
    // The thread of a transfer ends with it.
    assert!(take_all(second, Duration::ZERO).1);
    eventually(SOON, "both have", || field.threads("transfer").is_empty());
}

#[test]
fn a_service_ends_cleanly_whatever_is_transferred() {
    // More than the buffers of sockets can hold within the time limit.
    let field = Field::of(6 * PEERS, "transfer_time = \"1h\"");
    let _nothing = field.begin();
    let little = field.begin();
    thread::spawn(move || take_all(little, Duration::from_millis(20)));
    let begun = Instant::now();
    let Field {
        service,
        _certificates,
        _zones,
        _data,
    } = field;
    assert_eq!(service.terminate(), Some(0));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn mistakes_in_limits_are_shown() {
    let said = rejected_configuration(
        "[limits]\ntransfer_time = \"0s\"\ntransfer_mebibytes = 0\ntransfers = -1\n",
    );
    for expected in [
        "c.toml:2: `transfer_time` must be between 1s and 86400s",
        "c.toml:3: `transfer_mebibytes`: expected an integer from 1 to 16777216",
        "c.toml:4: `transfers`: expected an integer from 1 to 1024",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let output = check_configuration("[limits]\n");
    assert!(output.status.success(), "{output:?}");
}
