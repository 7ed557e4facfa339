//! The service among hosts of their own: network namespaces on one bridge.

mod common;
#[path = "common/namespaces.rs"]
mod namespaces;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use common::{Options, Service, eventually, simple_zone, value_in, zones};
use namespaces::Network;

/// A service in namespace 0, on all addresses and port 53.
fn service_in(network: &Network, zones: &Path, data: &Path) -> Service {
    let mut options = Options::new(zones, data);
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into(), "[::]:53".into()];
    Service::start_with(&options)
}

fn dig(network: &Network, host: usize, arguments: &[&str]) -> String {
    network.run(
        host,
        &[&["dig", "+tries=1", "+time=3"][..], arguments].concat(),
    )
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked() {
    let network = Network::new(1);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    for server in ["@10.77.0.1", "@10.77.0.2", "@fd77::1", "@fd77::2"] {
        for transport in ["+notcp", "+tcp"] {
            // dig takes no answer from another address than it asked.
            let answer = dig(
                &network,
                1,
                &[server, transport, "+short", "TXT", "test.internal"],
            );
            assert!(answer.contains("peers="), "{server}: {answer}");
        }
    }
    // All addresses of the interfaces are the name server's.
    let mut servers = dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "A", "ns.dns.test.internal"],
    );
    servers += &dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "AAAA", "ns.dns.test.internal"],
    );
    assert_eq!(servers, "10.77.0.1\n10.77.0.2\nfd77::1\nfd77::2\n");
}

/// The source of a UDP packet may be forged, so what registers without a cookie
/// goes by TCP; `dig` does so by itself when the answer is truncated.
#[test]
fn a_query_that_registers_needs_a_proven_source() {
    let network = Network::new(1);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    for name in [
        "a.test.internal",
        "_env.a.test.internal",
        "_leave.a.test.internal",
    ] {
        let unproven = dig(
            &network,
            1,
            &["@10.77.0.1", "+nocookie", "+ignore", "TXT", name],
        );
        assert!(
            unproven.contains(" tc ") && unproven.contains("ANSWER: 0"),
            "{unproven}"
        );
    }
    let apex = dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "TXT", "test.internal"],
    );
    assert_eq!(apex, "\"peers=0\" \"live=0\"\n");
    for tool in [
        vec!["dig", "+short", "@10.77.0.1", "TXT", "a.test.internal"],
        vec!["kdig", "+short", "@10.77.0.1", "TXT", "a.test.internal"],
        vec!["host", "-t", "TXT", "a.test.internal", "10.77.0.1"],
        vec!["nslookup", "-type=TXT", "a.test.internal", "10.77.0.1"],
    ] {
        let answer = network.run(1, &tool);
        assert_eq!(
            value_in(&answer, "address").unwrap(),
            "10.77.0.11:7051",
            "{tool:?}"
        );
    }
    // By IPv6 the source is another, and so is the holder.
    let six = dig(
        &network,
        1,
        &["@fd77::1", "+short", "TXT", "b.test.internal"],
    );
    assert_eq!(value_in(&six, "address").unwrap(), "[fd77::11]:7051");
    // Names that do not register are answered as they are.
    let address = dig(
        &network,
        1,
        &["@10.77.0.1", "+ignore", "+short", "A", "vp0.test.internal"],
    );
    assert_eq!(address, "10.77.0.11\n");
    // Nobody but a loopback query may state a loopback address.
    let loopback = dig(
        &network,
        1,
        &[
            "@10.77.0.1",
            "TXT",
            "c.test.internal",
            "+subnet=127.0.0.1/32",
        ],
    );
    assert!(loopback.contains("REFUSED"), "{loopback}");
    let transfer = dig(&network, 1, &["@10.77.0.1", "AXFR", "test.internal"]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

/// dnsmasq as an upstream resolver, in a namespace.
struct Upstream(Child);

impl Upstream {
    fn start(network: &Network, host: usize) -> Self {
        let mut command = network.command(host, "dnsmasq");
        let child = command
            .args([
                "--no-daemon",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=/dev/null",
            ])
            .args(["--user=root", "--pid-file=", "--bind-interfaces"])
            .args(["--host-record=public.example,192.0.2.7,2001:db8::7"])
            .args(["--txt-record=long.example,".to_owned() + &"x".repeat(250)])
            .args(["--local=/example/"])
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq: see scripts/test");
        Self(child)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn resolv_conf_pointing_at_the_service_resolves_peers_and_the_rest() {
    let network = Network::new(3);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&network, 2);
    let mut options = Options::new(zones.path(), data.path());
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into()];
    // The first upstream is no host at all, the second runs no resolver.
    let forward = ["10.77.0.99", "10.77.0.13", "10.77.0.12"];
    options.more = forward
        .iter()
        .flat_map(|to| ["--forward".into(), (*to).into()])
        .collect();
    let _service = Service::start_with(&options);
    network.resolver(
        1,
        "nameserver 10.77.0.1\nsearch test.internal\noptions attempts:1 timeout:5\n",
    );
    // A task of Swarm: host name from a template, resolver from the service.
    let registered = network.run(1, &["dig", "+search", "+short", "TXT", "my_stack-2"]);
    assert_eq!(value_in(&registered, "id").unwrap(), "vp0");
    for name in ["vp0", "my_stack-2", "VP0.test.internal"] {
        let line = network.run(1, &["getent", "hosts", name]);
        assert!(line.starts_with("10.77.0.11 "), "{name}: {line}");
    }
    let asked = Instant::now();
    let public = network.run(1, &["getent", "ahostsv4", "public.example"]);
    assert!(public.starts_with("192.0.2.7 "), "{public}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    let six = dig(
        &network,
        1,
        &["+time=5", "+short", "AAAA", "public.example"],
    );
    assert_eq!(six, "2001:db8::7\n");
    let long = dig(&network, 1, &["+time=5", "+short", "TXT", "long.example"]);
    assert!(long.contains(&"x".repeat(250)), "{long}");
    let unknown = dig(&network, 1, &["+time=5", "A", "nobody.example"]);
    assert!(
        unknown.contains("NXDOMAIN") && unknown.contains(" ra;"),
        "{unknown}"
    );
    // Not for a query that does not ask for recursion.
    let iterative = dig(&network, 1, &["+norecurse", "A", "public.example"]);
    assert!(iterative.contains("REFUSED"), "{iterative}");
    drop(upstream);
    let dead = dig(&network, 1, &["+time=6", "A", "other.example"]);
    assert!(dead.contains("SERVFAIL"), "{dead}");
    let why = "10.77.0.12 gave no answer: Connection refused";
    assert!(dead.contains(why), "{dead}");
    // And names of the zones do not wait for any upstream.
    let line = network.run(1, &["getent", "hosts", "vp0"]);
    assert!(line.starts_with("10.77.0.11 "), "{line}");
}

#[test]
fn without_forward_a_stub_resolver_goes_on_to_its_next_server() {
    let network = Network::new(2);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _upstream = Upstream::start(&network, 2);
    let _service = service_in(&network, zones.path(), data.path());
    network.resolver(1, "nameserver 10.77.0.1\nnameserver 10.77.0.12\n");
    let public = network.run(1, &["getent", "ahostsv4", "public.example"]);
    assert!(public.starts_with("192.0.2.7 "), "{public}");
}

/// A peer that was started by the script, with its environment in a file.
struct Peer {
    script: Child,
    directory: tempfile::TempDir,
}

impl Peer {
    /// Runs the start script as host `peer-K` in namespace `host`.
    fn start(network: &Network, host: usize, shell: &str) -> Self {
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
            .args(["10.77.0.1"])
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
    // Root nodes point at the lower IDs, so one peer has none.
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

    // SIGTERM to the script ends the process and the lease at once.
    common::signal(peers[0].script.id(), "TERM");
    let asked = Instant::now();
    let status = peers[0].script.wait().unwrap();
    assert_eq!(status.code(), Some(143), "{}", peers[0].said());
    assert!(live().contains("live=3"), "{}", live());
    assert!(asked.elapsed() < Duration::from_secs(3));

    // Killed with the script, the process cannot leave: the lease runs out.
    peers[1].script.kill().unwrap();
    peers[1].script.wait().unwrap();
    peers[1].kill_process();
    let killed = Instant::now();
    assert!(live().contains("live=3"), "{}", live());
    eventually(Duration::from_secs(8), "the lease runs out", || {
        live().contains("live=2")
    });
    assert!(killed.elapsed() > Duration::from_secs(1));

    // Killed alone, it is seen to be gone by the script, which leaves for it.
    peers[2].kill_process();
    eventually(Duration::from_secs(3), "the script leaves", || {
        live().contains("live=1")
    });
    assert_eq!(peers[2].script.wait().unwrap().code(), Some(137));

    // Started again, each has its ID.
    for (place, (id, _)) in ids.iter().enumerate().take(3) {
        peers[place] = Peer::start(&network, place + 1, "dash");
        eventually(Duration::from_secs(20), "the peer starts", || {
            peers[place].started()
        });
        assert_eq!(peers[place].variable("CORE_PEER_ID").as_ref(), Some(id));
        assert_ne!(peers[place].variable("CORE_PEER_DISCOVERY_ROOTNODE"), None);
    }
    assert!(live().contains("live=4"));
    // Heartbeats keep the leases: after more than one lease all still run.
    std::thread::sleep(Duration::from_secs(5));
    assert!(live().contains("live=4"), "{}", live());
}

#[test]
fn a_peer_waits_for_the_lease_of_another_and_says_so() {
    let network = Network::new(2);
    let zones = zones(&[("t.toml", &simple_zone("lease = \"4s\"", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    // Another container had the host name, and has died without leaving.
    dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "TXT", "peer-2.test.internal"],
    );
    let peer = Peer::start(&network, 2, "dash");
    eventually(Duration::from_secs(3), "it says what it waits for", || {
        peer.said().contains("10.77.0.11")
    });
    assert!(!peer.started());
    eventually(Duration::from_secs(10), "it takes over", || peer.started());
    assert_eq!(peer.variable("CORE_PEER_ID").unwrap(), "vp0");
    assert_eq!(
        peer.variable("CORE_PEER_ADDRESS").unwrap(),
        "10.77.0.12:7051"
    );
}
