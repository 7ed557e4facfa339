//! The service in namespace 0, and containers in the others: each runs the start
//! script, which runs the stand-in for a Fabric peer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    common::namespaces::Network,
    common::{Options, Service, attempt, shipped_zones},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SERVICE: &str = "10.77.0.1";
/// How long a network may take to heal, from the fault.
pub const HEALED: Duration = Duration::from_secs(60);
/// How often a peer dials the peers that it has lost.
pub const TOUCH: Duration = Duration::from_secs(6);

/// The shipped zones with a lease of 6 seconds, and hosts for their peers.
pub struct Fabric {
    network: Network,
    service: Service,
    /// Zones, data, logs, and the file systems of the containers.
    work: TempDir,
    hosts: usize,
}

/// A container: the start script and its peer on a host.
pub struct Peer {
    child: Child,
    log: PathBuf,
    pub host: usize,
}

/// The end of the time that a network has to heal. It counts from the fault, however
/// many steps are awaited until then.
#[derive(Clone, Copy)]
pub struct Deadline {
    began: Instant,
    within: Duration,
}

impl Deadline {
    /// Of a network that something has just happened to.
    pub fn healed() -> Self {
        Self::within(HEALED)
    }

    pub fn within(within: Duration) -> Self {
        Self {
            began: Instant::now(),
            within,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Fails if it is over and what it is for does not hold.
    pub fn allow(&self, what: &str, logs: impl FnOnce() -> String) {
        let within = self.within;
        assert!(
            self.elapsed() < within,
            "not within {within:?}: {what}: {}",
            logs()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// What a container is started with.
pub struct Start<'a> {
    pub zone: &'a str,
    pub role: &'a str,
    /// The host name, to which the ID belongs.
    pub name: &'a str,
    /// The file system: containers with the same one share a ledger.
    pub files: &'a str,
    /// The delay before the peer listens, in seconds.
    pub delay: u32,
}

impl<'a> Start<'a> {
    /// A validating peer with its own file system.
    pub fn mixed(zone: &'a str, name: &'a str) -> Self {
        Self {
            zone,
            role: "mixed",
            name,
            files: name,
            delay: 0,
        }
    }

    /// A peer that does not validate.
    pub fn rest(zone: &'a str, name: &'a str) -> Self {
        Self {
            role: "rest",
            ..Self::mixed(zone, name)
        }
    }

    pub fn files(self, files: &'a str) -> Self {
        Self { files, ..self }
    }

    pub fn late(self, delay: u32) -> Self {
        Self { delay, ..self }
    }
}

/// The address of a host.
pub fn address(host: usize) -> String {
    format!("10.77.0.{}", 10 + host)
}

impl Fabric {
    pub fn new(hosts: usize) -> Self {
        let network = Network::new(hosts);
        let work = tempfile::tempdir().unwrap();
        let zones = work.path().join("zones");
        fs::create_dir(&zones).unwrap();
        for name in ["pbft.toml", "noops.toml"] {
            let text = fs::read_to_string(shipped_zones().join(name)).unwrap();
            let short = text.replace("lease = \"30s\"", "lease = \"6s\"");
            assert_ne!(text, short);
            fs::write(zones.join(name), short).unwrap();
        }
        for host in 1..=hosts {
            network.resolver(host, &format!("nameserver {SERVICE}\n"));
        }
        let data = work.path().join("data");
        let service = Service::start_with(&Options {
            listen: vec![format!("{SERVICE}:53")],
            namespace: Some(network.name(0)),
            ..Options::new(&zones, &data)
        });
        Self {
            network,
            service,
            work,
            hosts,
        }
    }

    pub fn start(&self, host: usize, start: &Start<'_>) -> Peer {
        let log = self
            .work
            .path()
            .join(format!("{host}-{}-{}.log", start.zone, start.name));
        let output = fs::File::create(&log).unwrap();
        let peer = Path::new(ROOT).join("tests/swarm/peer");
        let files = self.work.path().join("files").join(start.files);
        let child = self
            .network
            .command(host, &format!("{ROOT}/scripts/start_peer.sh"))
            .env("CONSEN", start.zone)
            .env("ROLE", start.role)
            .env("PARAM_HOST", start.name)
            .env("PARAM_RENEW", "2")
            .env("STANDIN_DELAY", start.delay.to_string())
            .env("FILES", &files)
            .env(
                "PARAM_EXEC",
                format!(
                    "CORE_PEER_FILESYSTEMPATH=$FILES$CORE_PEER_FILESYSTEMPATH \
                     exec python3 {} node start",
                    peer.display()
                ),
            )
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Peer { child, log, host }
    }

    /// Starts containers on hosts 1, 2, … in this order, so that the first gets
    /// the first ID.
    pub fn start_all(&self, starts: &[Start<'_>]) -> Vec<Peer> {
        let start = |(index, start)| {
            let peer = self.start(index + 1, start);
            peer.until_registered(start.name);
            peer
        };
        starts.iter().enumerate().map(start).collect()
    }

    /// Kills every process on the host.
    pub fn kill(&self, host: usize) {
        let name = self.network.name(host);
        let deadline = Instant::now() + HEALED;
        loop {
            let output = attempt("ip", &["netns", "pids", name]);
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            let processes: Vec<&str> = listed.split_whitespace().collect();
            if processes.is_empty() || Instant::now() > deadline {
                return;
            }
            // Some may have ended in the meantime.
            attempt("kill", &[&["-KILL"][..], &processes].concat());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The host loses power: from one moment to the next it is silent, and nobody
    /// learns that its connections have ended.
    pub fn cut(&self, host: usize) {
        let port = format!("port{host}");
        self.network.run(0, &["ip", "link", "set", &port, "down"]);
        self.kill(host);
    }

    /// Like `sysctls:` of a service.
    pub fn tcp_retries(&self, retries: &str) {
        for host in 1..=self.hosts {
            let set = format!("echo {retries} >/proc/sys/net/ipv4/tcp_retries2");
            self.network.run(host, &["sh", "-c", &set]);
        }
    }

    /// Waits until this many peers of the zone are live.
    pub fn until_live(&self, zone: &str, live: usize, deadline: Deadline) {
        let origin = format!("{zone}.fabric.internal");
        let server = format!("@{SERVICE}");
        loop {
            let answer = self
                .network
                .run(0, &["dig", &server, "+short", "TXT", &origin]);
            if answer.contains(&format!("\"live={live}\"")) {
                return;
            }
            deadline.allow(&format!("{live} are live"), || answer);
        }
    }

    /// Waits until these peers see each other and nobody else.
    pub fn until_they_meet(&self, peers: &[&Peer], deadline: Deadline) {
        loop {
            let ids: Vec<String> = peers.iter().map(|peer| peer.id()).collect();
            let apart = peers.iter().zip(&ids).find(|(peer, id)| {
                let mut others: Vec<&str> = ids.iter().map(String::as_str).collect();
                others.retain(|other| other != id);
                others.sort_unstable();
                peer.sees() != others || id.is_empty()
            });
            let Some((apart, _)) = apart else { return };
            deadline.allow(&format!("{ids:?} meet"), || {
                format!("{}\nservice: {}", apart.log(), self.service.log())
            });
        }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        for host in 1..=self.hosts {
            self.kill(host);
        }
    }
}

impl Peer {
    /// The output of the script and the peer.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The ID that it is running as; empty until it listens.
    pub fn id(&self) -> String {
        let log = self.log();
        let listens = log.lines().find_map(|line| line.split_once(" listens on "));
        listens.map_or(String::new(), |(id, _)| id.to_owned())
    }

    /// The IDs that it is connected to now.
    pub fn sees(&self) -> Vec<String> {
        let log = self.log();
        let last = log.lines().rev().find_map(|line| line.split_once(" sees "));
        let Some((_, seen)) = last else {
            return Vec::new();
        };
        let ids = seen.split_whitespace();
        ids.take_while(|id| !id.starts_with("of"))
            .filter(|id| *id != "nobody")
            .map(str::to_owned)
            .collect()
    }

    /// The network of the peer at the other end of each connection so far.
    pub fn networks(&self) -> Vec<String> {
        let log = self.log();
        let of = |line: &str| {
            let (_, other) = line.split_once(" talks with ")?;
            other.split(' ').nth(2).map(str::to_owned)
        };
        log.lines().filter_map(of).collect()
    }

    /// The log lines about requests that it has sent.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(" asked "));
        lines.map(str::to_owned).collect()
    }

    /// Waits until the log meets a condition.
    pub fn until(&self, deadline: Deadline, what: &str, holds: impl Fn(&str) -> bool) {
        while !holds(&self.log()) {
            deadline.allow(what, || self.log());
        }
    }

    pub fn until_registered(&self, name: &str) {
        self.until(Deadline::healed(), "it is registered", |log| {
            log.contains(&format!("start_peer: {name} is "))
        });
    }

    /// Sends SIGTERM, as an orderly replacement does.
    pub fn stop(&mut self) {
        crate::common::signal(self.child.id(), "TERM");
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
