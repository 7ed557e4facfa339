//! Shared by the tests: a service of their own, and real tools to query it.

#![allow(dead_code, reason = "each suite uses a part of it")]

pub mod certificates;
pub mod namespaces;
pub mod random;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use param_daemon::store::StoreError;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        Name, RData, RecordType,
        rdata::opt::{ClientSubnet, EdnsOption},
    },
};
use tempfile::TempDir;

pub const PARAMD: &str = env!("CARGO_BIN_EXE_paramd");

/// The zones that are shipped.
pub fn shipped_zones() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zones")
}

/// A directory of zone files.
pub fn zones(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// A zone `test.internal` with one role and one sequence; `head` is inserted
/// before its tables.
pub fn simple_zone(head: &str, limit: &str) -> String {
    format!(
        "origin = \"test.internal\"\nroot_port = \"grpc\"\nroot_sequence = \"vp\"\n\
         default_role = \"mixed\"\n{head}\n[ports]\ngrpc = 7051\n[sequences.vp]\n{limit}\n\
         [roles.mixed]\nsequence = \"vp\"\n[environment]\nCORE_PEER_ID = \"{{{{ id }}}}\"\n\
         CORE_PEER_ADDRESS = \"{{{{ address }}}}:{{{{ ports.grpc }}}}\"\n\
         CORE_PEER_DISCOVERY_ROOTNODE = \"{{{{ roots | join(',') }}}}\"\n"
    )
}

/// Options for a service.
pub struct Options<'a> {
    pub zones: &'a Path,
    pub data: &'a Path,
    pub listen: Vec<String>,
    pub more: Vec<String>,
    /// The network namespace to run in.
    pub namespace: Option<&'a str>,
}

impl<'a> Options<'a> {
    pub fn new(zones: &'a Path, data: &'a Path) -> Self {
        Self {
            zones,
            data,
            listen: vec!["127.0.0.1:0".into()],
            more: Vec::new(),
            namespace: None,
        }
    }
}

/// A running service, which is killed when it is dropped.
pub struct Service {
    pub child: Child,
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    /// The addresses at which it answers by TLS.
    pub tls: Vec<SocketAddr>,
    /// The addresses of its HTTP service.
    pub http: Vec<SocketAddr>,
    /// The file with its log.
    pub log: PathBuf,
    _log_directory: TempDir,
}

impl Service {
    pub fn start(zones: &Path, data: &Path) -> Self {
        Self::start_with(&Options::new(zones, data))
    }

    pub fn start_with(options: &Options<'_>) -> Self {
        Self::try_start(options).unwrap_or_else(|log| panic!("no start: {log}"))
    }

    /// The service, or its messages if it does not start.
    pub fn try_start(options: &Options<'_>) -> Result<Self, String> {
        let log_directory = tempfile::tempdir().unwrap();
        let log = log_directory.path().join("log");
        let mut command = match options.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, PARAMD]);
                command
            }
            None => Command::new(PARAMD),
        };
        command.arg("serve").arg("--zones").arg(options.zones);
        command.arg("--data").arg(options.data);
        for listen in &options.listen {
            command.args(["--listen", listen]);
        }
        let mut child = command
            .args(&options.more)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let addresses = line.strip_prefix("paramd answers on ").map(|addresses| {
            let after = |prefix: &str| -> Vec<SocketAddr> {
                let addresses = addresses.trim().split(", ");
                addresses
                    .filter_map(|address| address.strip_prefix(prefix)?.parse().ok())
                    .collect()
            };
            (after(""), after("by TLS on "), after("by HTTP on "))
        });
        match addresses {
            Some((addresses, tls, http)) => Ok(Self {
                child,
                address: addresses[0],
                addresses,
                tls,
                http,
                log,
                _log_directory: log_directory,
            }),
            None => {
                child.wait().unwrap();
                Err(fs::read_to_string(&log).unwrap())
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by SIGTERM. Returns the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap().code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The log without the lines about dumps, which appear a moment after the
    /// start.
    pub fn log_of_others(&self) -> String {
        let log = self.log();
        let lines = log.lines().filter(|line| !line.contains("dump"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Resident memory, in kB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The whole output of `dig` with these arguments.
    pub fn dig(&self, arguments: &[&str]) -> String {
        let server = format!("@{}", self.address.ip());
        let port = self.port().to_string();
        let base = [server.as_str(), "-p", &port, "+tries=1", "+time=3"];
        run("dig", &[&base[..], arguments].concat())
    }

    /// The lines that `dig +short` prints.
    pub fn short(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.dig(&[&["+short"][..], arguments].concat());
        output.lines().map(str::to_owned).collect()
    }

    /// The value of a key in the TXT record of a name, queried with `dig`.
    pub fn value(&self, name: &str, key: &str) -> Option<String> {
        let answer = self.short(&["TXT", name]);
        value_in(answer.first()?, key)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of `key=` in the quoted strings that `dig` prints.
pub fn value_in(strings: &str, key: &str) -> Option<String> {
    strings.split('"').find_map(|string| {
        let value = string.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

pub fn signal(process: u32, name: &str) {
    run("kill", &["-s", name, &process.to_string()]);
}

/// Runs a tool that must succeed. Returns its standard output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = attempt(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a tool that may fail.
pub fn attempt(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}): see scripts/test"))
}

/// Runs a tool that must fail with this status. Returns its standard error.
pub fn fails_with(status: i32, program: &str, arguments: &[&str]) -> String {
    let output = attempt(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    said
}

/// Runs a tool with this text on its standard input.
pub fn pipe(program: &str, arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}): see scripts/test"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// Waits for a condition, and fails after this time.
pub fn eventually(within: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs `paramd check` on a configuration file `c.toml`.
pub fn check_configuration(text: &str) -> Output {
    let config = zones(&[("c.toml", text)]);
    let (path, zones) = (config.path().join("c.toml"), shipped_zones());
    let (path, zones) = (path.to_str().unwrap(), zones.to_str().unwrap());
    attempt(PARAMD, &["check", "--zones", zones, "--config", path])
}

/// What `paramd check` says of a configuration file `c.toml` that it rejects.
pub fn rejected_configuration(text: &str) -> String {
    let output = check_configuration(text);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Opens a store. A process that another test starts shares the lock for a
/// moment, until it executes its program.
pub fn unlocked<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 0..1_000 {
        match open() {
            Err(StoreError::Locked { .. }) => thread::sleep(Duration::from_millis(10)),
            opened => return opened,
        }
    }
    open()
}

/// A TXT query that states the address of a peer.
pub fn txt_query(id: u16, name: &str, address: Option<&str>) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    // By labels, which may contain any octets.
    let labels = name.split('.').filter(|label| !label.is_empty());
    let name = Name::from_labels(labels.map(str::as_bytes)).unwrap();
    message.add_query(Query::query(name, RecordType::TXT));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    if let Some(address) = address {
        let address = address.parse().unwrap();
        let subnet = ClientSubnet::new(address, 32, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    message.edns = Some(edns);
    message.to_vec().unwrap()
}

/// The strings of the first TXT record of a message.
pub fn strings_of(message: &Message) -> Vec<String> {
    let data = message
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt),
            _ => None,
        });
    let strings = data.iter().flat_map(|txt| txt.txt_data.iter());
    strings
        .map(|string| String::from_utf8(string.to_vec()).unwrap())
        .collect()
}

/// A UDP socket with a timeout of a second.
pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    socket
}

/// A JSON dump of a zone with this many peers.
pub fn dump_of_zone(origin: &str, peers: u32) -> String {
    let peer = |number: u32| {
        let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        format!(
            "{{\"host\":\"host-{number}\",\"sequence\":\"vp\",\"number\":{number},\
             \"role\":\"mixed\",\"source\":\"{address}\",\"address\":\"{address}\"}}"
        )
    };
    let peers: Vec<String> = (0..peers).map(peer).collect();
    format!(
        "{{\"version\":1,\"origin\":\"{origin}.\",\"serial\":1,\"peers\":[{}]}}",
        peers.join(",")
    )
}

/// Restores a zone with this many peers into an empty store.
pub fn restore(data: &Path, origin: &str, peers: u32) {
    let restored = pipe(
        PARAMD,
        &["restore", "-", "--data", data.to_str().unwrap()],
        &dump_of_zone(origin, peers),
    );
    assert!(restored.status.success(), "{restored:?}");
}

/// A service with the shipped zones, and its data directory.
pub fn shipped_service() -> (Service, TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Service::start(&shipped_zones(), data.path()), data)
}

/// The response code in the output of `dig`.
pub fn status(answer: &str) -> &str {
    let rest = answer.split("status: ").nth(1).unwrap();
    rest.split(',').next().unwrap()
}
