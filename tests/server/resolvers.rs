//! BIND and Unbound in front of the service, configured as in docs/resolvers.md.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::common::namespaces::Network;
use crate::common::{Options, Service, eventually, simple_zone, value_in, zones};

const ZONE: &str = "pbft.fabric.internal";
/// The address that the page gives the service, and the one that it has here.
const SHOWN: &str = "10.0.0.53";
const SERVICE: &str = "10.77.0.1";
const RESOLVER: &str = "10.77.0.11";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Named,
    UnboundForward,
    UnboundStub,
}

const KINDS: [Kind; 3] = [Kind::Named, Kind::UnboundForward, Kind::UnboundStub];

/// The block of the page in that language.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/resolvers.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    assert!(block.contains(SHOWN) && block.contains(ZONE), "{block}");
    block.replace(SHOWN, SERVICE)
}

impl Kind {
    /// What the page shows.
    fn shown(self) -> String {
        match self {
            Self::Named => block("named"),
            Self::UnboundForward => block("unbound"),
            Self::UnboundStub => block("unbound").replace("forward-", "stub-"),
        }
    }

    /// A typical configuration around it: DNSSEC validation, and Unbound rejects
    /// private addresses and checks the spelling of names.
    fn around(self, shown: &str, directory: &Path) -> String {
        let directory = directory.display();
        match self {
            Self::Named => shown.replacen(
                "options {",
                &format!(
                    "controls {{ }};\noptions {{\n directory \"{directory}\";\n pid-file none;\n \
                     lock-file none;\n session-keyfile none;\n dnssec-validation auto;\n \
                     listen-on {{ any; }};\n listen-on-v6 {{ none; }};\n \
                     allow-query {{ any; }};\n allow-recursion {{ any; }};"
                ),
                1,
            ),
            // The trust anchor is a dummy, since no root server is reachable.
            Self::UnboundForward | Self::UnboundStub => format!(
                "server:\n directory: \"{directory}\"\n chroot: \"\"\n username: \"\"\n \
                 pidfile: \"\"\n use-syslog: no\n interface: 0.0.0.0\n \
                 access-control: 0.0.0.0/0 allow\n private-address: 10.0.0.0/8\n \
                 use-caps-for-id: yes\n trust-anchor: \". IN DS 1 8 2 {}\"\n{shown}\n\
                 remote-control:\n control-enable: no\n",
                "ab".repeat(32)
            ),
        }
    }

    /// Whether it passes the client's address on to the service.
    fn tells_the_client(self) -> bool {
        self != Self::Named
    }
}

/// A resolver in namespace 1, which is stopped when it is dropped.
struct Resolver {
    child: Child,
    directory: tempfile::TempDir,
}

impl Resolver {
    fn start(network: &Network, kind: Kind, shown: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolver.conf");
        fs::write(&file, kind.around(shown, directory.path())).unwrap();
        let (program, arguments) = match kind {
            Kind::Named => ("named", ["-g", "-c"]),
            Kind::UnboundForward | Kind::UnboundStub => ("unbound", ["-dp", "-c"]),
        };
        let child = network
            .command(1, program)
            .args(arguments)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service in namespace 0, a resolver in 1, clients that know only the
/// resolver in 2 and 3.
struct Field {
    resolver: Resolver,
    _service: Service,
    network: Network,
    _zones: tempfile::TempDir,
    _data: tempfile::TempDir,
}

impl Field {
    fn new(kind: Kind, head: &str, limit: &str) -> Self {
        Self::with(kind, &kind.shown(), head, limit, true)
    }

    fn with(kind: Kind, shown: &str, head: &str, limit: &str, answers: bool) -> Self {
        let network = Network::new(3);
        let zone = simple_zone(head, limit).replace("test.internal", ZONE);
        let zones = zones(&[("t.toml", &zone)]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["0.0.0.0:53".into()];
        let service = Service::start_with(&options);
        let resolver = Resolver::start(&network, kind, shown);
        for client in [2, 3] {
            network.resolver(client, &format!("nameserver {RESOLVER}\n"));
        }
        let field = Self {
            resolver,
            _service: service,
            network,
            _zones: zones,
            _data: data,
        };
        let start = Instant::now();
        loop {
            let answer = field.attempt(2, &["SOA", ZONE]);
            if answer.contains("status: ") && answer.contains("NOERROR") == answers {
                return field;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{kind:?}: {answer}\n{}",
                field.resolver.log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// `dig` from a client, whether it is answered or not.
    fn attempt(&self, client: usize, arguments: &[&str]) -> String {
        let mut command = self.network.command(client, "dig");
        let output = command
            .args(["+tries=1", "+time=8"])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn short(&self, client: usize, arguments: &[&str]) -> String {
        self.attempt(client, &[&["+short"][..], arguments].concat())
    }

    fn value(&self, client: usize, arguments: &[&str], key: &str) -> Option<String> {
        value_in(&self.short(client, arguments), key)
    }

    /// The answer of the service itself.
    fn direct(&self, arguments: &[&str]) -> String {
        let base = ["dig", "+short", "@127.0.0.1"];
        self.network.run(0, &[&base[..], arguments].concat())
    }
}

#[test]
fn a_client_that_knows_only_the_resolver_registers_in_one_call() {
    for kind in KINDS {
        let field = Field::new(kind, "", "");
        let name = |host: &str| format!("{host}.{ZONE}");
        for (host, arguments, told) in [
            ("plain", vec![], "10.77.0.12"),
            ("stated", vec!["+subnet=10.77.0.99/32"], "10.77.0.99"),
            ("noedns", vec!["+noedns"], "10.77.0.12"),
            ("tcp", vec!["+tcp"], "10.77.0.12"),
            ("SpElt", vec![], "10.77.0.12"),
            // A network is no address of a peer.
            ("network", vec!["+subnet=10.77.0.0/24"], RESOLVER),
        ] {
            let name = name(host);
            let answer = field.short(2, &[&["TXT", &name][..], &arguments].concat());
            // Unless the resolver passes the client's address on, all clients
            // have the resolver's address.
            let address = if kind.tells_the_client() {
                told
            } else {
                RESOLVER
            };
            assert_eq!(
                value_in(&answer, "address"),
                Some(format!("{address}:7051")),
                "{kind:?} {host}: {answer}\n{}",
                field.resolver.log()
            );
            assert_eq!(field.direct(&["A", &name]), format!("{address}\n"));
        }
        // The same host in another spelling.
        let first = field.value(2, &["TXT", &name("spelt")], "id");
        assert_eq!(first.as_deref(), Some("vp4"), "{kind:?}");
        // The environment of a host that has never queried, also with its role.
        for host in ["_env.new", "_env.other.mixed"] {
            let environment = field.short(2, &["TXT", &name(host)]);
            assert!(environment.contains("CORE_PEER_ID=vp"), "{kind:?}: {host}");
        }
        let left = field.short(2, &["TXT", &name("_leave.plain")]);
        assert_eq!(left, "\"left=vp0\"\n", "{kind:?}");
        // Behind a resolver that passes no address on, all clients are the same
        // holder.
        let foreign = field.attempt(3, &["TXT", &name("_leave.tcp")]);
        let refused = foreign.contains("status: SERVFAIL");
        assert_eq!(refused, kind.tells_the_client(), "{kind:?}: {foreign}");
        assert_eq!(foreign.contains("left=vp3"), !refused, "{kind:?}");
    }
}

/// TTL 0 makes each query a heartbeat. Both resolvers count whole seconds, and
/// may cache such an answer for up to one second.
#[test]
fn no_resolver_keeps_an_answer_that_registers() {
    const SECOND: Duration = Duration::from_secs(2);
    for kind in KINDS {
        let field = Field::new(kind, "lease = \"3s\"", "");
        let name = |host: &str| format!("{host}.{ZONE}");
        let live = || field.direct(&["TXT", ZONE]);
        let (a, b) = (name("a"), name("b"));
        // It does not exist, which is not cached for longer than it is true.
        let unknown = field.attempt(2, &["A", &a]);
        assert!(unknown.contains("status: NXDOMAIN"), "{kind:?}: {unknown}");
        eventually(SECOND, "it registers", || {
            field.value(2, &["TXT", &a], "id").as_deref() == Some("vp0")
        });
        eventually(SECOND, "it is found", || {
            field.short(2, &["A", &a]).starts_with("10.77.0.1")
        });
        // Another peer changes the answer for the first one.
        assert_eq!(field.value(2, &["TXT", &a], "root").unwrap(), "");
        // It states another address, which not every resolver passes on.
        let other = field.direct(&["TXT", &b, "+subnet=10.77.0.99/32"]);
        assert!(other.contains("id=vp1"), "{other}");
        eventually(SECOND, "the first is told of the second", || {
            field.value(2, &["TXT", &a], "root").unwrap() != ""
        });
        // One renews its lease through the resolver, the other does not.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(6) {
            thread::sleep(Duration::from_millis(800));
            assert_eq!(field.value(2, &["TXT", &a], "id").unwrap(), "vp0");
        }
        let state = live();
        assert_eq!(state, "\"peers=2\" \"live=1\"\n", "{kind:?}");
        eventually(Duration::from_secs(6), "without queries it ends", || {
            live().contains("live=0")
        });
    }
}

#[test]
fn names_are_read_and_refusals_arrive_as_failures() {
    for kind in KINDS {
        let field = Field::new(kind, "reclaim = \"never\"", "limit = 2");
        let ask = |arguments: &[&str]| field.attempt(3, arguments);
        for host in ["a", "b"] {
            let registered = field.value(2, &["TXT", &format!("{host}.{ZONE}")], "id");
            assert!(registered.is_some(), "{kind:?}");
        }
        let address = field.direct(&["A", &format!("vp0.{ZONE}")]);
        for name in ["vp0", "vP0", "a"] {
            let name = format!("{name}.{ZONE}");
            assert_eq!(field.short(3, &["A", &name]), address, "{kind:?}: {name}");
        }
        let services = field.short(3, &["SRV", &format!("_grpc._tcp.{ZONE}")]);
        let mut targets: Vec<&str> = services
            .lines()
            .map(|line| line.split(' ').nth(3).unwrap())
            .collect();
        targets.sort_unstable();
        let expected = [0, 1].map(|number| format!("vp{number}.{ZONE}."));
        assert_eq!(targets, expected, "{kind:?}");
        let unknown = ask(&["A", &format!("vp77.{ZONE}")]);
        assert!(unknown.contains("status: NXDOMAIN"), "{kind:?}: {unknown}");
        // A full network. Neither resolver passes the reason on.
        let refused = ask(&["TXT", &format!("c.{ZONE}")]);
        assert!(refused.contains("status: SERVFAIL"), "{kind:?}: {refused}");
        assert!(field.direct(&["TXT", ZONE]).contains("peers=2"));
    }
}

#[test]
fn twenty_hosts_at_once_have_an_id_each() {
    for kind in KINDS {
        let field = Field::new(kind, "", "limit = 20");
        let asking: Vec<Child> = (0..20)
            .map(|host| {
                let mut command = field.network.command(2 + host % 2, "dig");
                let name = format!("peer-{host}.{ZONE}");
                command
                    .args(["+short", "+tries=1", "+time=10", "TXT", &name])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let ids: BTreeSet<String> = asking
            .into_iter()
            .map(|dig| {
                let output = dig.wait_with_output().unwrap();
                let answer = String::from_utf8(output.stdout).unwrap();
                value_in(&answer, "id").unwrap_or_else(|| panic!("{kind:?}: {answer}"))
            })
            .collect();
        let expected: BTreeSet<String> = (0..20).map(|number| format!("vp{number}")).collect();
        assert_eq!(ids, expected, "{kind:?}");
    }
}

/// Behind a resolver that does not pass on its address, a peer does not accept
/// another's identity.
#[test]
fn the_start_script_does_not_start_a_peer_at_the_address_of_the_resolver() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/start_peer.sh");
    for kind in KINDS {
        let field = Field::new(kind, "", "");
        let output = field
            .network
            .command(2, "dash")
            .arg(&script)
            .env("PARAM_HOST", "peer-2")
            .env("PARAM_ZONE", ZONE)
            .env(
                "PARAM_EXEC",
                "echo started as $CORE_PEER_ID at $CORE_PEER_ADDRESS",
            )
            .env("PARAM_TIMEOUT", "3")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        if kind.tells_the_client() {
            assert_eq!(printed, "started as vp0 at 10.77.0.12:7051\n", "{said}");
        } else {
            assert_eq!(printed, "", "{said}");
            assert_eq!(output.status.code(), Some(1), "{said}");
            let why = format!("peer-2 is held by {RESOLVER}");
            assert!(said.contains(&why), "{kind:?}: {said}");
        }
    }
}

/// As it is without what the page says of it: no server of the root is reached
/// here, and where one is, it proves that there is no such zone.
#[test]
fn without_the_exception_from_dnssec_a_resolver_believes_nothing() {
    for kind in KINDS {
        let shown = kind.shown();
        let without: Vec<&str> = shown
            .lines()
            .filter(|line| !line.contains("validate-except") && !line.contains("domain-insecure"))
            .collect();
        assert_eq!(without.len() + 1, shown.lines().count(), "{kind:?}");
        let field = Field::with(kind, &without.join("\n"), "", "", false);
        let answer = field.attempt(2, &["TXT", &format!("a.{ZONE}")]);
        assert!(answer.contains("status: SERVFAIL"), "{kind:?}: {answer}");
        assert!(field.direct(&["SOA", ZONE]).contains("hostmaster"));
    }
}
