//! The peer's own name: before the peer starts under it, the system's resolver
//! must know it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::responder::{MINE, Peer, Responder};
use super::script::{Script, Shell, fake, found, seconds, until};
use crate::common::namespaces::Network;
use crate::common::{Options, Service, simple_zone, zones};

under_both_shells! {
    waits_until_the_resolver_knows_the_name
    gives_up_and_leaves_where_the_name_does_not_resolve
    a_silent_resolver_keeps_nothing_waiting
    starts_with_a_warning_where_that_is_enough
    only_its_own_name_has_to_resolve
    addresses_are_compared_as_addresses
    asks_the_resolver_of_the_system
}

/// A resolver that says what is in a file.
struct Resolver {
    folder: TempDir,
}

impl Resolver {
    fn start(text: &str) -> Self {
        let folder = fake(
            "getent",
            "[ \"$2\" != 127.0.0.1 ] || exit 0
cd \"${0%/*}\"
echo \"$*\" >>asked
read -r addresses <addresses
case $addresses in
    '') exit 2 ;;
    silent) exec sleep 1000 ;;
esac
for address in $addresses; do echo \"$address STREAM $2\"; done",
        );
        let resolver = Self { folder };
        resolver.say(text);
        resolver
    }

    fn say(&self, addresses: &str) {
        let file = self.folder.path().join("addresses");
        fs::write(file, format!("{addresses}\n")).unwrap();
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default()
    }

    fn script(&self, shell: Shell, port: u16, peer: &str, settings: &[(&str, &str)]) -> Script {
        Script::start_among(shell, Some(&self.folder), port, peer, settings)
    }
}

/// A service that names the peer in one of its variables.
fn named(name: &str) -> Responder {
    let address = format!("CORE_PEER_ADDRESS={name}:7051");
    Responder::start(Peer::with(vec![address.into_bytes()]))
}

const NAME: &str = "vp1.noops.fabric.internal";

fn waits_until_the_resolver_knows_the_name(shell: Shell) {
    let service = named("VP1.noops.fabric.internal");
    let resolver = Resolver::start("");
    let mut script = resolver.script(shell, service.port, "exit 5", &[]);
    until("it asks again", || service.count("_env.h1") >= 3);
    resolver.say("10.0.1.9");
    until("the address is wrong", || script.said("10.0.1.9") == 1);
    resolver.say("10.0.1.9 10.0.1.5");
    assert_eq!(script.end(), Some(5));
    let why = "waiting: the system's resolver does not know vp1.noops.fabric.internal: name ";
    assert_eq!(script.said(why), 1, "{}", script.read("err"));
    let why =
        "the system's resolver has 10.0.1.9 for vp1.noops.fabric.internal, not 10.0.1.5: name ";
    assert_eq!(script.said(why), 1, "{}", script.read("err"));
    assert_eq!(script.said("--dns"), 2);
    assert!(resolver.asked().starts_with(&format!("ahosts {NAME}\n")));
}

fn gives_up_and_leaves_where_the_name_does_not_resolve(shell: Shell) {
    let service = named(NAME);
    let resolver = Resolver::start("");
    let timeout = [("PARAM_TIMEOUT", "2")];
    let mut script = resolver.script(shell, service.port, "touch ran", &timeout);
    assert_eq!(script.end(), Some(1));
    let why = "giving up after 2 s: the system's resolver does not know vp1.noops";
    assert_eq!(script.said(why), 1, "{}", script.read("err"));
    assert!(!script.has("ran"));
    assert_eq!(service.count("_leave.h1"), 1);
}

fn a_silent_resolver_keeps_nothing_waiting(shell: Shell) {
    let service = named(NAME);
    let resolver = Resolver::start("silent");
    let mut script = resolver.script(shell, service.port, "touch ran", &[]);
    until("its lease is renewed meanwhile", || {
        service.count("_env.h1") >= 3
    });
    assert_eq!(script.said("does not answer for vp1.noops"), 1);
    assert_eq!(resolver.asked().lines().count(), 1, "asks twice at once");
    let killed = Instant::now();
    script.kill("TERM");
    assert_eq!(script.end(), Some(143));
    assert!(killed.elapsed() < seconds(4));
    assert_eq!(script.writers(), 0);
    assert_eq!(service.count("_leave.h1"), 1);
}

fn starts_with_a_warning_where_that_is_enough(shell: Shell) {
    for answer in ["", "silent"] {
        let service = named(NAME);
        let resolver = Resolver::start(answer);
        let warn = [("PARAM_RESOLVE", "warn")];
        let mut script = resolver.script(shell, service.port, "exit 5", &warn);
        assert_eq!(script.end(), Some(5));
        assert_eq!(script.said("warning: the system's resolver does not"), 1);
    }
}

fn only_its_own_name_has_to_resolve(shell: Shell) {
    for text in [
        "CORE_PEER_DISCOVERY_ROOTNODE=vp0.noops.fabric.internal:7051",
        "CORE_A=xvp1.noops.fabric.internal",
        "CORE_A=a.vp1.noops.fabric.internal",
        "CORE_A=vp1.noops.fabric.internal.example",
        "CORE_A=vp1.noops.fabric.internals",
    ] {
        let service = Responder::start(Peer::with(vec![text.into()]));
        let resolver = Resolver::start("");
        let mut script = resolver.script(shell, service.port, "exit 5", &[]);
        assert_eq!(script.end(), Some(5), "{text}");
        assert_eq!(resolver.asked(), "", "{text}");
    }
    for text in [
        "CORE_A=a,vp1.noops.fabric.internal.",
        "CORE_A=xvp1.noops.fabric.internal,vp1.noops.fabric.internal:1",
    ] {
        let service = Responder::start(Peer::with(vec![text.into()]));
        let resolver = Resolver::start(MINE);
        let mut script = resolver.script(shell, service.port, "exit 5", &[]);
        assert_eq!(script.end(), Some(5), "{text}");
        assert_eq!(resolver.asked(), format!("ahosts {NAME}\n"), "{text}");
    }
}

fn addresses_are_compared_as_addresses(shell: Shell) {
    for (address, held_by, resolved) in [
        ("fd00::5", "[FD00:0:0::0005]", "fd00:0:0:0:0:0:0:5"),
        ("fd00:0:0:1::", "[fd00:0:0:1:0:0:0:0]", "FD00::1:0:0:0:0"),
        ("::ffff:10.0.1.5", "10.0.1.5", "::FFFF:a00:105"),
        ("fd00::a00:105", "[fd00::10.0.1.5]", "fd00::10.0.1.5%eth0"),
    ] {
        let variables = vec![format!("CORE_PEER_ADDRESS={NAME}:7051").into_bytes()];
        let service = Responder::start(Peer::at(held_by, variables));
        let resolver = Resolver::start(resolved);
        let settings = [("PARAM_ADDRESS", address), ("PARAM_TIMEOUT", "2")];
        let mut script = resolver.script(shell, service.port, "exit 5", &settings);
        assert_eq!(script.end(), Some(5), "{address}: {}", script.read("err"));
    }
    for (address, another) in [("fd00::5", "fd00::50"), ("fd00::5", "fd00:5::")] {
        let service = Responder::start(Peer::at(
            "[fd00::5]",
            vec![format!("CORE_PEER_ADDRESS={NAME}:7051").into_bytes()],
        ));
        let resolver = Resolver::start(another);
        let settings = [("PARAM_ADDRESS", address), ("PARAM_TIMEOUT", "0")];
        let mut script = resolver.script(shell, service.port, "exit 5", &settings);
        assert_eq!(script.end(), Some(1), "{another}: {}", script.read("err"));
    }
}

/// With the real service as the resolver of /etc/resolv.conf, with getent(1)
/// and without.
fn asks_the_resolver_of_the_system(shell: Shell) {
    let network = Network::new(1);
    let zone = simple_zone("", "").replace("{{ address }}", "{{ id }}.test.internal");
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into()];
    let _service = Service::start_with(&options);

    let with_getent = ["getent", "dig", "awk", "busybox", "dash"];
    let others = [
        "cat", "date", "env", "grep", "mktemp", "rm", "sed", "sh", "sleep", "uname",
    ];
    for tools in [&with_getent[..], &with_getent[1..]] {
        let folder = tempfile::tempdir().unwrap();
        for tool in tools.iter().chain(&others) {
            symlink(found(tool), folder.path().join(tool)).unwrap();
        }
        let start = |resolver: &str| -> Command {
            network.resolver(1, resolver);
            let mut command = network.command(1, "env");
            command.arg(format!("PATH={}", folder.path().display()));
            command.args([
                "PARAM_ZONE=test.internal",
                "PARAM_HOST=peer-1",
                "PARAM_TOOLS=/nowhere",
            ]);
            command.args(["PARAM_ADDRESS=10.77.0.11", "PARAM_TIMEOUT=1"]);
            command.arg("PARAM_EXEC=echo started as $CORE_PEER_ADDRESS");
            command.args(shell.command()).arg("10.77.0.1");
            command
        };
        let output = start("nameserver 10.77.0.1\n").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.stdout, b"started as vp0.test.internal:7051\n",
            "{said}"
        );

        // Nobody answers there.
        let output = start("nameserver 10.77.0.99\n").output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the system's resolver does not "), "{said}");
        // The lease was left: it would otherwise run for half a minute.
        let answer = network.run(1, &["dig", "@10.77.0.1", "+short", "TXT", "test.internal"]);
        assert!(answer.contains("live=0"), "{answer}");
    }
}
