//! Three members of etcd, three replicas of the service, and a place for clients, each
//! in a namespace of its own on one bridge.
//!
//! `process` is a process under a supervisor, `member` and `replica` say how theirs are
//! started, `link` makes the network flawed.

mod link;
mod member;
mod process;
mod replica;

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use crate::common::{eventually, namespaces::Network};
use member::Disk;
use process::Process;
use replica::WallClock;

pub use self::{
    link::{Flaw, break_link, heal_link},
    replica::Times,
};

pub const MEMBERS: usize = 3;
pub const REPLICAS: usize = 3;

/// The namespaces: that of the bridge is 0, then come members, replicas and clients.
const CLIENTS: usize = 1 + MEMBERS + REPLICAS;

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    Member(usize),
    Replica(usize),
}

/// Who leads: the preferred targets of faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leaders {
    /// The member that leads etcd.
    pub etcd: Option<usize>,
    /// The replica that writes.
    pub writer: Option<usize>,
}

// The order is that in which they end: processes, file systems, the network.
pub struct Cluster {
    members: Vec<Process>,
    replicas: Vec<Process>,
    clocks: Vec<WallClock>,
    disks: Vec<Disk>,
    pub network: Network,
}

impl Node {
    pub const ALL: [Self; MEMBERS + REPLICAS] = [
        Self::Member(0),
        Self::Member(1),
        Self::Member(2),
        Self::Replica(0),
        Self::Replica(1),
        Self::Replica(2),
    ];

    /// The number of its namespace.
    pub fn host(self) -> usize {
        match self {
            Self::Member(place) => 1 + place,
            Self::Replica(place) => 1 + MEMBERS + place,
        }
    }

    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.host() as u8)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(place) => write!(f, "member {place}"),
            Self::Replica(place) => write!(f, "replica {place}"),
        }
    }
}

impl Cluster {
    /// Starts everything, with files in the directory, and waits until etcd commits.
    /// The clients have these addresses.
    pub fn start(directory: &Path, times: &Times, clients: &[Ipv4Addr]) -> Self {
        let network = Network::new(CLIENTS);
        for address in clients {
            let address = format!("{address}/24");
            network.run(CLIENTS, &["ip", "address", "add", &address, "dev", "eth0"]);
        }
        let addresses: Vec<Ipv4Addr> = (0..MEMBERS).map(|it| Node::Member(it).address()).collect();
        let path = |kind: &str, place: usize| directory.join(format!("{kind}-{place}"));
        let disks: Vec<Disk> = (0..MEMBERS)
            .map(|it| Disk::new(&path("disk", it)))
            .collect();
        let members = disks.iter().enumerate().map(|(place, disk)| {
            let namespace = network.name(Node::Member(place).host());
            let log = directory.join(format!("member-{place}.log"));
            member::member(place, namespace, &addresses, disk, log)
        });
        let members = members.collect();
        let endpoints = addresses.iter().map(|it| format!("{it}:2379"));
        let store = format!("etcd://{}", endpoints.collect::<Vec<_>>().join(","));
        let replicas = (0..REPLICAS).map(|place| {
            let node = Node::Replica(place);
            let namespace = network.name(node.host());
            let directory = path("replica", place);
            replica::replica(place, namespace, node.address(), &store, times, &directory)
        });
        let (replicas, clocks) = replicas.unzip();
        let mut cluster = Self {
            members,
            replicas,
            clocks,
            disks,
            network,
        };
        cluster.members.iter_mut().for_each(Process::start);
        eventually(Duration::from_secs(60), "etcd commits", || {
            cluster.etcdctl(&["put", "/test", "1"]).is_some()
        });
        cluster.replicas.iter_mut().for_each(Process::start);
        cluster
    }

    /// Where the replicas answer.
    pub fn servers(&self) -> Vec<SocketAddr> {
        let nodes = (0..REPLICAS).map(|place| IpAddr::V4(Node::Replica(place).address()));
        nodes.map(|address| SocketAddr::new(address, 53)).collect()
    }

    /// The namespace of the clients.
    pub fn clients(&self) -> &str {
        self.network.name(CLIENTS)
    }

    pub fn process(&mut self, node: Node) -> &mut Process {
        match node {
            Node::Member(place) => &mut self.members[place],
            Node::Replica(place) => &mut self.replicas[place],
        }
    }

    /// The file system of a member.
    pub fn disk(&self, member: usize) -> &Disk {
        &self.disks[member]
    }

    /// The wall clock of a replica.
    pub fn clock(&self, replica: usize) -> &WallClock {
        &self.clocks[replica]
    }

    /// Starts again what ended by itself. Returns how that ended.
    pub fn supervise(&mut self) -> Vec<String> {
        let all = self.members.iter_mut().chain(&mut self.replicas);
        all.filter_map(Process::supervise).collect()
    }

    /// Lines of the replicas' logs that tell of a defect.
    pub fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        for process in &self.replicas {
            let log = fs::read(process.log()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines = log.lines().filter(|line| line.contains("panicked at"));
            defects.extend(lines.map(|line| format!("{}: {line}", process.name)));
        }
        defects
    }

    /// Who leads, as far as etcd says so.
    pub fn leaders(&self) -> Leaders {
        let writer = self.etcdctl(&["get", "--print-value-only", "/paramd/1/leader"]);
        let writer = writer.and_then(|value| {
            let name = |place: &usize| value.contains(&format!("\"replica-{place}\""));
            (0..REPLICAS).find(name)
        });
        let status = self.etcdctl(&["endpoint", "status", "--write-out=json"]);
        Leaders {
            etcd: status.and_then(|status| leader_in(&status)),
            writer,
        }
    }

    /// The output of `etcdctl`, if it succeeds.
    fn etcdctl(&self, arguments: &[&str]) -> Option<String> {
        let members = (0..MEMBERS).map(|it| format!("http://{}:2379", Node::Member(it).address()));
        let endpoints = format!("--endpoints={}", members.collect::<Vec<_>>().join(","));
        let output = self
            .network
            .command(CLIENTS, "env")
            .args(["ETCDCTL_API=3", "etcdctl", &endpoints])
            .args(["--command-timeout=2s", "--dial-timeout=1s"])
            .args(arguments)
            .output()
            .unwrap();
        let is_there = output.status.success();
        is_there.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The place of the member that leads, in the status that `etcdctl` prints.
fn leader_in(status: &str) -> Option<usize> {
    let status: serde_json::Value = serde_json::from_str(status).ok()?;
    let leads = |it: &&serde_json::Value| {
        let status = &it["Status"];
        !status["leader"].is_null() && status["leader"] == status["header"]["member_id"]
    };
    let leader = status.as_array()?.iter().find(leads)?;
    let endpoint = leader["Endpoint"].as_str()?;
    (0..MEMBERS).find(|place| endpoint.contains(&format!("{}:", Node::Member(*place).address())))
}
