//! Replicas of the service that share an etcd.

use std::{fs, net::SocketAddr, path::PathBuf};

use tempfile::TempDir;

use crate::{
    cluster::Cluster,
    common::{Options, Service, attempt, run, simple_zone, zones},
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
    /// A replica with a lease of this many seconds, and a short time for which it may be
    /// cut off: a release waits for as long after an election.
    pub fn new(cluster: &Cluster, name: &str, lease: u64) -> Self {
        Self::with(
            cluster,
            name,
            &format!("lease = \"{lease}s\"\nhold = \"2s\"\n"),
        )
    }

    /// The same, with a zone whose lease is 4 s.
    pub fn short(cluster: &Cluster, name: &str, etcd: &str) -> Self {
        Self {
            zones: zones(&[("t.toml", &simple_zone("lease = \"4s\"", ""))]),
            ..Self::with(cluster, name, etcd)
        }
    }

    /// A replica with this text in the table `[etcd]`.
    pub fn with(cluster: &Cluster, name: &str, etcd: &str) -> Self {
        Self {
            zones: zones(&[("t.toml", &simple_zone("", ""))]),
            data: tempfile::tempdir().unwrap(),
            store: cluster.store(),
            config: format!(
                "[identity]\nname = \"{name}\"\n[etcd]\nchannel = \"127.0.0.1:0\"\n{etcd}"
            ),
        }
    }

    /// Adds a zone file.
    pub fn add_zone(&self, name: &str, text: &str) {
        fs::write(self.zones.path().join(name), text).unwrap();
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
}

/// What `dig` prints for a query to this address.
pub fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let (host, port) = (format!("@{}", server.ip()), server.port().to_string());
    let base = [host.as_str(), "-p", &port, "+tries=1", "+time=8"];
    run("dig", &[&base[..], arguments].concat())
}

/// The status, and what a host at this address is told.
pub fn ask_at(server: SocketAddr, host: &str, address: &str) -> String {
    let subnet = format!("+subnet={address}/32");
    dig(server, &[&subnet, "TXT", &format!("{host}.{ZONE}")])
}

/// The serial of the zone.
pub fn serial(server: SocketAddr) -> u32 {
    let soa = dig(server, &["+short", "SOA", ZONE]);
    let serial = soa.split(' ').nth(2).and_then(|it| it.parse().ok());
    serial.unwrap_or_else(|| panic!("it has a serial: {soa}"))
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
