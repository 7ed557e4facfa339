//! Replicas of the service that share an etcd.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    cluster::Cluster,
    common::{Options, PARAMD, Service, attempt, eventually, run, signal, simple_zone, zones},
};

pub const ZONE: &str = "test.internal";

/// A replica with its data directory, running or not.
pub struct Replica {
    zones: TempDir,
    pub data: TempDir,
    store: String,
    config: String,
}

impl Replica {
    /// A replica with a lease of this many seconds.
    pub fn new(cluster: &Cluster, name: &str, lease: u64) -> Self {
        Self::with(cluster, name, &format!("lease = \"{lease}s\"\n"))
    }

    /// A replica with this text in the table `[etcd]`.
    pub fn with(cluster: &Cluster, name: &str, etcd: &str) -> Self {
        Self {
            zones: zones(&[("t.toml", &simple_zone("", ""))]),
            data: tempfile::tempdir().unwrap(),
            store: cluster.store(),
            config: format!("[identity]\nname = \"{name}\"\n[etcd]\n{etcd}"),
        }
    }

    pub fn data(&self) -> &str {
        self.data.path().to_str().unwrap()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        let path = self.zones.path().join("c.conf");
        fs::write(&path, &self.config).unwrap();
        path
    }

    /// `--store … --config …`.
    pub fn options(&self) -> Vec<String> {
        let config = self.config().to_str().unwrap().to_owned();
        let store = self.store.clone();
        vec!["--store".into(), store, "--config".into(), config]
    }

    /// Starts it, and waits until it answers.
    pub fn start(&self) -> Service {
        self.try_start()
            .unwrap_or_else(|log| panic!("no start: {log}"))
    }

    pub fn try_start(&self) -> Result<Service, String> {
        let mut options = Options::new(self.zones.path(), self.data.path());
        options.more = self.options();
        Service::try_start(&options)
    }

    /// The message of a start that is refused.
    pub fn refused(&self) -> String {
        let said = self.try_start().map(drop).unwrap_err();
        let errors = said.lines().filter(|line| line.starts_with("paramd:"));
        assert_eq!(errors.count(), 1, "one line says what to do: {said}");
        said
    }

    /// Starts it, and waits until it stands by.
    pub fn stand_by(&self, writer: &str) -> Standby {
        let log = self.zones.path().join("standby.log");
        let mut child = Command::new(PARAMD)
            .arg("serve")
            .arg("--zones")
            .arg(self.zones.path())
            .args(["--data", self.data(), "--listen", "127.0.0.1:0"])
            .args(self.options())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let standby = Standby {
            child,
            log,
            answers: Some(thread::spawn(move || {
                let mut line = String::new();
                let mut stdout = BufReader::new(stdout);
                stdout.read_line(&mut line).unwrap();
                line.trim()
                    .strip_prefix("paramd answers on ")
                    .map(|address| address.parse().unwrap())
            })),
        };
        eventually(Duration::from_secs(10), "it stands by", || {
            let log = standby.log();
            log.contains("waiting as a standby") && log.contains(&format!(" is {writer} ("))
        });
        standby
    }
}

/// A replica that waits, killed when it is dropped.
pub struct Standby {
    pub child: Child,
    log: PathBuf,
    answers: Option<thread::JoinHandle<Option<SocketAddr>>>,
}

impl Standby {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it answers. Returns its address.
    pub fn answers(&mut self) -> SocketAddr {
        let address = self.answers.take().unwrap().join().unwrap();
        address.unwrap_or_else(|| panic!("it answers: {}", self.log()))
    }

    /// Ends it by SIGTERM. Returns the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `dig` prints for a query to this address.
pub fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let (host, port) = (format!("@{}", server.ip()), server.port().to_string());
    let base = [host.as_str(), "-p", &port, "+tries=1", "+time=8"];
    run("dig", &[&base[..], arguments].concat())
}

/// The answer to a host that asks for its parameters.
pub fn ask(server: SocketAddr, host: &str) -> String {
    dig(server, &["TXT", &format!("{host}.{ZONE}")])
}

/// The same of a service that may end meanwhile.
pub fn ask_briefly(server: SocketAddr, host: &str) -> String {
    let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
    let name = format!("{host}.{ZONE}");
    let arguments = [&*at, "-p", &port, "+tries=1", "+time=2", "TXT", &name];
    let output = attempt("dig", &arguments);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The ID of the host, which is registered if it is new.
pub fn id(server: SocketAddr, host: &str) -> String {
    let answer = ask(server, host);
    let id = answer
        .split("\"id=")
        .nth(1)
        .and_then(|it| it.split('"').next());
    id.unwrap_or_else(|| panic!("{host} has an ID: {answer}"))
        .to_owned()
}

/// Asserts that the hosts have consecutive IDs from `vp0`.
pub fn assert_ids(server: SocketAddr, hosts: &[&str]) {
    for (number, host) in hosts.iter().enumerate() {
        assert_eq!(id(server, host), format!("vp{number}"), "{host}");
    }
}
