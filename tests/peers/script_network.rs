//! Peers that are started by the start script, in network namespaces.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use crate::common::namespaces::{Network, dig, service_in};
use crate::common::{self, eventually, simple_zone, zones};

/// A peer that was started by the script, with its environment in a file.
struct Peer {
    script: Child,
    directory: tempfile::TempDir,
}

impl Peer {
    /// Runs the start script as host `peer-K` in namespace `host`.
    fn start(network: &Network, host: usize, shell: &str) -> Self {
        Self::start_with(network, host, shell, "10.77.0.1")
    }

    fn start_with(network: &Network, host: usize, shell: &str, servers: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/start_peer.sh");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let exec = format!(
            "env >{path}/part; echo $$ >{path}/pid; mv {path}/part {path}/env; exec sleep 1000"
        );
        let mut command = match shell {
            "busybox" => network.command(host, "busybox"),
            shell => network.command(host, shell),
        };
        if shell == "busybox" {
            command.arg("sh");
        }
        let script = command
            .arg(script)
            .arg(servers)
            .env("PARAM_HOST", format!("peer-{host}"))
            .env("PARAM_ZONE", "test.internal")
            .env("PARAM_EXEC", exec)
            .env("PARAM_RENEW", "1")
            .env("PARAM_TIMEOUT", "60")
            .stderr(fs::File::create(directory.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        Self { script, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn started(&self) -> bool {
        self.file("env").exists()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap()
    }

    fn variable(&self, name: &str) -> Option<String> {
        let environment = fs::read_to_string(self.file("env")).unwrap();
        let value = environment
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        value.map(str::to_owned)
    }

    /// The process that the script started.
    fn process(&self) -> u32 {
        fs::read_to_string(self.file("pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn kill_process(&self) {
        let _ = common::attempt("kill", &["-s", "KILL", &self.process().to_string()]);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
        if self.file("pid").exists() {
            self.kill_process();
        }
    }
}

#[test]
fn four_peers_start_by_the_script_stop_and_come_back() {
    let network = Network::new(4);
    let head = "n = 4\nlease = \"4s\"\nreclaim = \"never\"";
    let zones = zones(&[("t.toml", &simple_zone(head, "limit = \"n\""))]);
    let data = tempfile::tempdir().unwrap();
    // The peers wait for the service.
    let mut peers: Vec<Peer> = (1..=4)
        .map(|host| {
            Peer::start(
                &network,
                host,
                if host % 2 == 0 { "busybox" } else { "dash" },
            )
        })
        .collect();
    let _service = service_in(&network, zones.path(), data.path());
    let live = || {
        dig(
            &network,
            1,
            &["@10.77.0.1", "+short", "TXT", "test.internal"],
        )
    };
    for peer in &peers {
        eventually(Duration::from_secs(20), "the peer starts", || {
            peer.started()
        });
    }
    let mut ids = Vec::new();
    for (place, peer) in peers.iter().enumerate() {
        let own = format!("10.77.0.{}:7051", 11 + place);
        assert_eq!(
            peer.variable("CORE_PEER_ADDRESS").unwrap(),
            own,
            "{}",
            peer.said()
        );
        ids.push((peer.variable("CORE_PEER_ID").unwrap(), own));
    }
    let mut sorted = ids.clone();
    sorted.sort();
    let numbers: Vec<&str> = sorted.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(numbers, ["vp0", "vp1", "vp2", "vp3"]);
    // Root nodes have lower IDs, so one peer has none.
    for (peer, (id, _)) in peers.iter().zip(&ids) {
        let lower: Vec<&str> = sorted
            .iter()
            .take_while(|(other, _)| other != id)
            .map(|(_, address)| address.as_str())
            .take(3)
            .collect();
        let roots = peer
            .variable("CORE_PEER_DISCOVERY_ROOTNODE")
            .unwrap_or_default();
        assert_eq!(roots, lower.join(","), "{id}: {}", peer.said());
    }
    assert!(live().contains("live=4"));

    // SIGTERM to the script ends the process and the lease immediately.
    common::signal(peers[0].script.id(), "TERM");
    let asked = Instant::now();
    let status = peers[0].script.wait().unwrap();
    assert_eq!(status.code(), Some(143), "{}", peers[0].said());
    assert!(live().contains("live=3"), "{}", live());
    assert!(asked.elapsed() < Duration::from_secs(3));

    // Killed with the script, the process cannot leave: the lease expires.
    peers[1].script.kill().unwrap();
    peers[1].script.wait().unwrap();
    peers[1].kill_process();
    let killed = Instant::now();
    assert!(live().contains("live=3"), "{}", live());
    eventually(Duration::from_secs(8), "the lease runs out", || {
        live().contains("live=2")
    });
    assert!(killed.elapsed() > Duration::from_secs(1));

    // If only the process is killed, the script notices and leaves.
    peers[2].kill_process();
    eventually(Duration::from_secs(3), "the script leaves", || {
        live().contains("live=1")
    });
    assert_eq!(peers[2].script.wait().unwrap().code(), Some(137));

    // After a restart, each has its ID.
    for (place, (id, _)) in ids.iter().enumerate().take(3) {
        peers[place] = Peer::start(&network, place + 1, "dash");
        eventually(Duration::from_secs(20), "the peer starts", || {
            peers[place].started()
        });
        assert_eq!(peers[place].variable("CORE_PEER_ID").as_ref(), Some(id));
        assert_ne!(peers[place].variable("CORE_PEER_DISCOVERY_ROOTNODE"), None);
    }
    assert!(live().contains("live=4"));
    // Heartbeats renew the leases: all are running after more than one lease.
    std::thread::sleep(Duration::from_secs(5));
    assert!(live().contains("live=4"), "{}", live());
}

#[test]
fn a_peer_waits_for_the_lease_of_another_and_says_so() {
    let network = Network::new(2);
    let zones = zones(&[("t.toml", &simple_zone("lease = \"4s\"", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    // Another container had the host name, and was killed without leaving.
    dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "TXT", "peer-2.test.internal"],
    );
    let last_heard = Instant::now();
    let peer = Peer::start(&network, 2, "dash");
    eventually(Duration::from_secs(3), "it says what it waits for", || {
        peer.said().contains("10.77.0.11")
    });
    assert!(!peer.started());
    eventually(Duration::from_secs(10), "it takes over", || peer.started());
    let waited = last_heard.elapsed();
    assert!(
        waited < Duration::from_secs(4 + 5),
        "{waited:?}: {}",
        peer.said()
    );
    assert_eq!(peer.variable("CORE_PEER_ID").unwrap(), "vp0");
    assert_eq!(
        peer.variable("CORE_PEER_ADDRESS").unwrap(),
        "10.77.0.12:7051"
    );
}

#[test]
fn a_dead_server_costs_a_timeout_once() {
    let network = Network::new(2);
    let zones = zones(&[("t.toml", &simple_zone("lease = \"5s\"", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    for (shell, silent) in [("dash", "10.77.0.99"), ("busybox", "fd77::99")] {
        network.drop_packets(2, silent);
        // At the second address there is a host, but no service.
        let servers = format!("{silent},10.77.0.11 10.77.0.1,10.77.0.2");
        let mut peer = Peer::start_with(&network, 2, shell, &servers);
        let asked = Instant::now();
        eventually(Duration::from_secs(10), "the peer starts", || {
            peer.started()
        });
        assert!(asked.elapsed() > Duration::from_secs(2), "{}", peer.said());
        let holder = || {
            dig(
                &network,
                1,
                &["@10.77.0.1", "+short", "A", "peer-2.test.internal"],
            )
        };
        // For longer than a lease.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            assert_eq!(holder(), "10.77.0.12\n", "{}", peer.said());
            std::thread::sleep(Duration::from_millis(200));
        }
        common::signal(peer.script.id(), "TERM");
        let ended = Instant::now();
        assert_eq!(peer.script.wait().unwrap().code(), Some(143));
        assert!(ended.elapsed() < Duration::from_secs(2), "{}", peer.said());
        assert_eq!(holder(), "", "it has left");
        let said = peer.said();
        let why = format!("start_peer: going on with 10.77.0.1: no answer from {silent}: ");
        assert_eq!(said.matches(&why).count(), 1, "{said}");
        assert_eq!(
            said.matches("no answer from 10.77.0.11: ").count(),
            1,
            "{said}"
        );
        assert_eq!(said.matches("going on").count(), 1, "{said}");
    }
}
