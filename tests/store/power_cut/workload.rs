//! Services that run under strace while hosts register, and what they
//! acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, RecordType},
};

use super::{
    history::{History, What},
    strace,
};
use crate::common::{PARAMD, signal, socket, strings_of, txt_query};

pub const ORIGIN: &str = "test.internal.";

/// The time limit for an answer, including strace.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service under strace.
pub struct Traced {
    strace: Child,
    trace: PathBuf,
    address: SocketAddr,
}

impl Traced {
    pub fn start(zones: &Path, data: &Path, trace: &Path, faults: &[&str]) -> Self {
        let mut command = strace::command(PARAMD, trace, faults);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "off"])
            .arg("--zones")
            .arg(zones)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped());
        let mut strace = started(command);
        let mut line = String::new();
        let stdout = strace.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("paramd answers on ");
        let address = address.unwrap_or_else(|| panic!("no start: {line}"));
        Self {
            address: address.parse().unwrap(),
            strace,
            trace: trace.to_owned(),
        }
    }

    /// Registers these hosts with a limited number of outstanding queries, until
    /// all are answered. A query that fails because the service cannot write is
    /// repeated.
    pub fn register(&self, hosts: Range<u16>, outstanding: usize) {
        let mut waiting: Vec<u16> = hosts.rev().collect();
        let start = Instant::now();
        while !waiting.is_empty() {
            assert!(start.elapsed() < PATIENCE, "hosts wait: {waiting:?}");
            let asking = waiting.split_off(waiting.len().saturating_sub(outstanding));
            let refused = self.ask(&asking);
            if !refused.is_empty() {
                thread::sleep(Duration::from_millis(20));
            }
            waiting.extend(refused);
        }
    }

    /// Queries for these hosts at once. Returns those that were not registered or
    /// answered.
    pub fn ask(&self, hosts: &[u16]) -> BTreeSet<u16> {
        let socket = socket();
        for host in hosts {
            let address = format!("10.1.{}.{}", host / 250, host % 250 + 1);
            let query = txt_query(*host, &format!("host-{host}.{ORIGIN}"), Some(&address));
            socket.send_to(&query, self.address).unwrap();
        }
        let mut waiting: BTreeSet<u16> = hosts.iter().copied().collect();
        let mut buffer = [0; 4096];
        for _ in hosts {
            let Ok(length) = socket.recv(&mut buffer) else {
                break;
            };
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            let host = reply.metadata.id;
            match reply.metadata.response_code {
                ResponseCode::NoError => drop(waiting.remove(&host)),
                ResponseCode::ServFail => {}
                other => panic!("host {host} is answered {other}"),
            }
        }
        waiting
    }

    /// Queries the SOA record, whose serial must never be used twice.
    pub fn ask_serial(&self) {
        let socket = socket();
        let mut query = Message::from_vec(&txt_query(0, ORIGIN, None)).unwrap();
        query.queries[0].set_query_type(RecordType::SOA);
        socket
            .send_to(&query.to_vec().unwrap(), self.address)
            .unwrap();
        socket.recv(&mut [0; 4096]).unwrap();
    }

    /// Ends the service by a signal. Returns the trace.
    pub fn end(mut self, name: &str) -> String {
        signal(self.process(), name);
        self.strace.wait().unwrap();
        fs::read_to_string(&self.trace).unwrap()
    }

    fn process(&self) -> u32 {
        let text = fs::read_to_string(&self.trace).unwrap();
        strace::process_in(&text).expect("the service's process")
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            signal(self.process(), "KILL");
            self.strace.wait().unwrap();
        }
    }
}

/// Runs a command under strace. Returns the trace.
pub fn traced(arguments: &[&str], trace: &Path) -> String {
    let mut command = strace::command(PARAMD, trace, &[]);
    command.args(arguments).stdout(Stdio::null());
    assert!(started(command).wait().unwrap().success(), "{arguments:?}");
    fs::read_to_string(trace).unwrap()
}

fn started(mut command: Command) -> Child {
    command
        .spawn()
        .unwrap_or_else(|error| panic!("strace cannot be run ({error}): see scripts/test"))
}

/// What the world has been told.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Acknowledged {
    /// The ID of each host.
    pub ids: BTreeMap<String, String>,
    /// The highest SOA serial.
    pub serial: u64,
    /// What a restore has restored, once it has reported it.
    pub promised: BTreeMap<String, String>,
}

impl Acknowledged {
    /// What has been told when this line is reached.
    pub fn until(&mut self, history: &History, line: usize) {
        for event in history.events.iter().filter(|it| it.begin < line) {
            if let What::Told(octets) = &event.what {
                self.take(octets);
            }
        }
    }

    fn take(&mut self, octets: &[u8]) {
        if octets.starts_with(b"restored ") {
            self.ids.append(&mut self.promised);
        }
        let Ok(reply) = Message::from_vec(octets) else {
            return;
        };
        for record in &reply.answers {
            if let RData::SOA(soa) = &record.data {
                self.serial = self.serial.max(u64::from(soa.serial));
            }
        }
        let strings = strings_of(&reply);
        let id = strings.first().and_then(|it| it.strip_prefix("id="));
        if let (Some(id), Some(query)) = (id, reply.queries.first()) {
            let host = query.name().to_ascii();
            let host = host.split('.').next().unwrap_or("").to_owned();
            let earlier = self.ids.insert(host.clone(), id.to_owned());
            assert!(
                earlier.as_deref().is_none_or(|it| it == id),
                "{host} was {earlier:?} and is {id}"
            );
        }
    }
}
