//! The start script, with real `dig` and under two shells, against a DNS
//! responder that says hostile things, nothing at all, or the truth.

macro_rules! under_both_shells {
    ($($test:ident)*) => {
        mod dash { $(#[test] fn $test() { super::$test(super::Shell::Dash) })* }
        mod busybox { $(#[test] fn $test() { super::$test(super::Shell::Busybox) })* }
    };
}

mod fencing;
mod names;
mod older_tools;
mod resolving;
mod responder;
mod script;
mod servers;
mod tools;
mod waiting;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use responder::{Answer, MINE, Peer, Responder};
use script::{SCRIPT, Script, Shell, kill, seconds, until};

const ANOTHER: &str = "10.0.1.9";
/// A peer that only lives, in the process that the file `pid` names.
const LIVES: &str = "echo $$ >pid; exec sleep 30";
const NETWORK: &str = "CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE";

under_both_shells! {
    hostile_answers_run_nothing_and_export_nothing_else
    long_answers_are_no_burden
    a_forwarder_may_drop_the_additional_section
    the_address_may_be_ipv6
    a_signal_while_the_peer_starts_is_not_lost
    passes_signals_on_and_ends_as_the_peer_does
    ends_as_the_peer_does_even_if_a_signal_comes_just_then
    a_killed_peer_ends_everything_at_once
    the_heartbeat_ends_with_the_peer_even_without_the_script
    tells_once_that_the_lease_is_lost
    wrong_settings_are_one_line
    usage_names_every_variable
}

fn hostile_answers_run_nothing_and_export_nothing_else(shell: Shell) {
    let every_byte: Vec<u8> = (32..=255).filter(|&byte| byte != 127).collect();
    let good: [(&str, &[u8]); 7] = [
        ("CORE_PEER_ID", b"vp1"),
        ("CORE_EMPTY", b""),
        (
            "CORE_COMMAND",
            b"$(touch ran) `touch ran`; touch ran & touch ran | touch ran",
        ),
        (
            "CORE_QUOTES",
            br#"'; touch ran; ' "; touch ran; " "" \" \\" \n\010\$x"#,
        ),
        ("CORE_SPACES", b"  a * ~ ${IFS} b=c  "),
        ("CORE_STRINGS", &[b'"'; 300]),
        ("CORE_BYTES", &every_byte),
    ];
    let bad = "PATH=/nowhere|LD_PRELOAD=/evil.so|IFS=x|core_x=1|CORE_x=1|=x|CORE_NOTHING|CORE_A B=x|\
        CORE_$(touch ran)=x|CORE_X=x;touch ran\nPATH=/nowhere\nset LD_PRELOAD=x|CORE_T=\t|CORE_N=\0|\
        \nset PATH=/nowhere";
    let mut records: Vec<_> = bad.split('|').map(Vec::from).collect();
    let refused = records.len();
    records.extend(good.map(|(name, value)| [name.as_bytes(), b"=", value].concat()));
    let service = Responder::start(Peer::with(records));

    let mut script = Script::start(shell, service.port, "env -0 >environment", &[]);
    assert_eq!(script.end(), Some(0), "{}", script.read("err"));
    let printed = fs::read(script.dir.path().join("environment")).unwrap();
    let mut got = BTreeMap::new();
    for variable in printed.split(|&byte| byte == 0).filter(|v| !v.is_empty()) {
        let equals = variable.iter().position(|&byte| byte == b'=').unwrap();
        got.insert(
            str::from_utf8(&variable[..equals]).unwrap(),
            &variable[equals + 1..],
        );
    }
    for (name, value) in good {
        assert_eq!(got.remove(name), Some(value), "{name}");
    }
    assert_eq!(got.remove("PATH"), Some(script.path.as_bytes()));
    let shells = ["PWD", "OLDPWD", "SHLVL", "_"];
    got.retain(|name, _| !name.starts_with("PARAM_") && !shells.contains(name));
    assert!(got.is_empty(), "exported too: {got:?}");
    assert!(!script.has("ran"));
    assert_eq!(script.said("left out"), refused);
    assert_eq!(script.said("left out PATH: "), 1);
}

fn long_answers_are_no_burden(shell: Shell) {
    let variable = |text: &[u8]| [b"CORE_LONG=", text].concat();
    let many = (0..1000).map(|i| format!("CORE_{i}=x").into_bytes());
    for (mut records, length) in [
        (vec![variable(&[b'x'; 60_000])], "60000\n"),
        (vec![variable(&[b'\\'; 9_000])], "9000\n"),
        (vec![variable(&[b'\\'; 60_000])], "0\n"),
        (vec![variable(&[1; 60_000])], "0\n"),
        (many.chain([variable(b"xx")]).collect(), "2\n"),
    ] {
        records.push(b"CORE_PEER_ID=vp1".to_vec());
        let service = Responder::start(Peer::with(records));
        let mut script = Script::start(shell, service.port, "echo ${#CORE_LONG}", &[]);
        assert_eq!(script.end(), Some(0), "{}", script.read("err"));
        assert_eq!(script.read("out"), length);
        assert!(script.started.elapsed() < seconds(5));
    }
}

fn a_forwarder_may_drop_the_additional_section(shell: Shell) {
    let long = "long ".repeat(200);
    let variables = vec![format!("CORE_LONG={long}").into_bytes()];
    let mut peer = Peer {
        holder: ANOTHER,
        variables,
        summary: false,
        ..Peer::default()
    };
    let service = Responder::start(Answer::Peer(peer.clone()));
    let role = [("ROLE", "validator")];
    let mut script = Script::start(shell, service.port, "printf %s \"$CORE_LONG\"", &role);
    until("it waits", || {
        script.said("waiting: h1 is held by 10.0.1.9") == 1
    });
    peer.holder = MINE;
    service.say(Answer::Peer(peer));
    assert_eq!(script.end(), Some(0));
    assert_eq!(script.read("out"), long);
    assert!(service.count("_env.h1.validator") >= 3 && service.count("h1.validator") >= 2);
}

fn the_address_may_be_ipv6(shell: Shell) {
    let service = Responder::start(Peer::held_by("[fd00::5]"));
    let address = [("PARAM_ADDRESS", "fd00::5")];
    assert_eq!(
        Script::start(shell, service.port, "exit 6", &address).end(),
        Some(6)
    );
    assert_eq!(service.stated(), ["fd00::5/128"]);
}

/// The peer begins as a fork of the script's shell, with the traps of it. strace
/// has each process wait before it changes what a signal does, so that a signal
/// surely comes before that.
fn a_signal_while_the_peer_starts_is_not_lost(shell: Shell) {
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let service = Responder::start(Peer::held_by(ANOTHER));
        let mut script = Script::start(shell, service.port, LIVES, &[]);
        until("it waits", || script.said("waiting: ") == 1);
        let process = script.id();
        let mut strace = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", "trace=rt_sigaction"])
            .args(["-e", "inject=rt_sigaction:delay_enter=150000:when=1"])
            .args(["-p", &process])
            .spawn()
            .expect("strace is missing");
        until("strace is there", || {
            let about = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            !about.contains("TracerPid:\t0\n")
        });
        service.say(Peer::held_by(MINE));
        until("it has its identity", || script.said("h1 is vp1") == 1);
        script.kill(signal);
        assert_eq!(script.end(), Some(status));
        assert_eq!(script.writers(), 0);
        assert_eq!(service.count("_leave.h1"), 1);
        strace.wait().unwrap();
    }
}

fn passes_signals_on_and_ends_as_the_peer_does(shell: Shell) {
    let service = Responder::start(Peer::held_by(MINE));
    let peer = "for s in HUP INT QUIT USR1 USR2; do trap \"echo $s\" $s; done
        trap 'echo TERM; exit 42' TERM
        echo $$ >pid
        i=0; while [ $i -lt 400 ]; do sleep 0.05; i=$((i + 1)); done";
    let mut script = Script::start(shell, service.port, peer, &[]);
    script.peer();
    let mut arrived = String::new();
    for signal in ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"] {
        script.kill(signal);
        arrived += &format!("{signal}\n");
        until(&format!("SIG{signal} arrives"), || {
            script.read("out") == arrived
        });
    }
    assert_eq!(script.end(), Some(42));
    assert_eq!(service.count("_leave.h1"), 1);
}

fn ends_as_the_peer_does_even_if_a_signal_comes_just_then(shell: Shell) {
    let service = Responder::start(Peer::held_by(MINE));
    let peer = "trap '' USR1; kill -s USR1 $PPID; exit 6";
    for _ in 0..20 {
        let mut script = Script::start(shell, service.port, peer, &[]);
        assert_eq!(script.end(), Some(6), "{}", script.read("err"));
    }
}

fn a_killed_peer_ends_everything_at_once(shell: Shell) {
    let service = Responder::start(Peer::held_by(MINE));
    let rarely = [("PARAM_RENEW", "10")];
    let mut script = Script::start(shell, service.port, LIVES, &rarely);
    let peer = script.peer();
    thread::sleep(seconds(1));
    kill("KILL", &peer);
    let killed = Instant::now();
    assert_eq!(script.end(), Some(137));
    assert!(killed.elapsed() < seconds(1));
    assert_eq!(script.writers(), 0);
    assert_eq!((service.count("_leave.h1"), service.count("h1")), (1, 0));
}

fn the_heartbeat_ends_with_the_peer_even_without_the_script(shell: Shell) {
    let service = Responder::start(Peer::held_by(MINE));
    let mut script = Script::start(shell, service.port, LIVES, &[]);
    let peer = script.peer();
    script.kill("KILL");
    script.end();
    let before = service.count("h1");
    until("two more heartbeats", || service.count("h1") >= before + 2);
    kill("KILL", &peer);
    let killed = Instant::now();
    until("all of it has ended", || script.writers() == 0);
    assert!(killed.elapsed() < seconds(3));
}

fn tells_once_that_the_lease_is_lost(shell: Shell) {
    let service = Responder::start(Peer::held_by(MINE));
    let settings = [("PARAM_RENEW", "1"), ("PARAM_FENCE", "warn")];
    let mut script = Script::start(shell, service.port, LIVES, &settings);
    let peer = script.peer();
    until("it renews", || service.count("h1") == 1);
    assert_eq!(script.said("lease"), 0);
    service.say(Peer::held_by(ANOTHER));
    until("it notices", || service.count("h1") == 3);
    assert!(script.started.elapsed() > seconds(3), "renews more often");
    kill("TERM", &peer);
    assert_eq!(script.end(), Some(143));
    assert_eq!(script.said("lease not renewed: h1 is held by 10.0.1.9"), 1);
}

fn wrong_settings_are_one_line(shell: Shell) {
    for (name, value, why) in [
        (NETWORK, "weave", "no Docker socket at /nowhere"),
        (NETWORK, "a/../b", "not the name of a network"),
        ("PARAM_HOST", "peer.1.x7gq", "must be one label"),
        ("PARAM_HOST", "-f", "must be one label"),
        ("ROLE", "@10.0.0.1", "ROLE"),
        ("CONSEN", "+tcp .", "CONSEN"),
        ("PARAM_ZONE", "a..b", "PARAM_ZONE"),
        ("PARAM_ADDRESS", "$(touch ran)", "PARAM_ADDRESS"),
        ("PARAM_TIMEOUT", "2m", "PARAM_TIMEOUT"),
        ("PARAM_PREFIXES", ".*", "PARAM_PREFIXES"),
        ("PARAM_RESOLVE", "no", "PARAM_RESOLVE"),
        ("PARAM_FENCE", "yes", "PARAM_FENCE"),
        ("PARAM_STOP_GRACE", "1m", "PARAM_STOP_GRACE"),
        ("PARAM_LEASE", "30s", "PARAM_LEASE"),
    ] {
        let address = if name == NETWORK { "" } else { MINE };
        let settings = [
            ("PARAM_DOCKER_SOCKET", "/nowhere"),
            ("PARAM_ADDRESS", address),
            (name, value),
        ];
        let mut script = Script::start(shell, 1, "touch ran", &settings);
        assert_eq!(script.end(), Some(1), "{why}");
        let said = script.read("err");
        assert!(
            said.contains(why) && said.lines().count() == 1,
            "{why}: {said}"
        );
        assert!(!script.has("ran"));
    }
}

fn usage_names_every_variable(shell: Shell) {
    let mut script = Script::run(shell, &["--help"], &[]);
    assert_eq!((script.end(), script.read("err").as_str()), (Some(0), ""));
    let source = fs::read_to_string(SCRIPT).unwrap();
    for word in source.split(|c: char| c != '_' && !c.is_ascii_uppercase()) {
        let setting = word.starts_with("PARAM_") || word == NETWORK;
        assert!(
            !setting || script.read("out").contains(word),
            "{word} is not in the usage"
        );
    }
    for wrong in ["--what", "a b", "a 53 c", "@a", "a 0"] {
        let arguments: Vec<_> = wrong.split(' ').collect();
        assert_eq!(
            Script::run(shell, &arguments, &[]).end(),
            Some(2),
            "{wrong}"
        );
    }
}
