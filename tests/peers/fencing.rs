//! Fencing, end to end: the real service and the real start script with
//! `PARAM_FENCE=strict`, while networks are cut, scripts and the service are
//! stopped, and a second container competes for every host name. No two processes
//! may ever run with one ID at the same time.
//!
//! `FENCING_ROUNDS=200` makes it a long test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::namespaces::Network;
use crate::common::{self, Options, Service, eventually, signal, simple_zone, zones};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/start_peer.sh");

/// The number of host names. Two containers compete for each.
const NAMES: usize = 3;

/// A peer that records every 10 ms that it is running: its process, epoch, and
/// the time in microseconds.
const PEER: &str = r#"
import os, time
out = open(os.environ["PEER_LOG"], "a", buffering=1)
while True:
    print(os.getpid(), os.environ["CORE_PEER_ID"], os.environ["CORE_EPOCH"], time.time_ns() // 1000, file=out)
    time.sleep(0.01)
"#;

/// Random numbers that are reproducible by a seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(1_000 * from + self.below(1_000 * (to - from)))
    }
}

struct Field {
    network: Network,
    service: Service,
    directory: tempfile::TempDir,
    _files: [tempfile::TempDir; 2],
    /// The running script of each namespace.
    scripts: Vec<Mutex<Option<Child>>>,
    ended: AtomicBool,
}

impl Field {
    fn new() -> Self {
        let network = Network::new(2 * NAMES);
        let zone = simple_zone("lease = \"8s\"", "") + "CORE_EPOCH = \"{{ epoch }}\"\n";
        let zones = zones(&[("t.toml", &zone)]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["10.77.0.1:53".into()];
        let service = Service::start_with(&options);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("peer.py"), PEER).unwrap();
        Self {
            network,
            service,
            directory,
            _files: [zones, data],
            scripts: (0..=2 * NAMES).map(|_| Mutex::default()).collect(),
            ended: AtomicBool::new(false),
        }
    }

    fn address(namespace: usize) -> String {
        format!("10.77.0.{}", 10 + namespace)
    }

    /// The file in which the peers of a namespace record that they are running.
    fn log(&self, namespace: usize) -> PathBuf {
        self.directory.path().join(format!("peers-{namespace}"))
    }

    /// Restarts the script whenever it ends, like a restart policy.
    fn supervise(&self, namespace: usize) {
        while !self.ended.load(Ordering::Relaxed) {
            let messages = fs::File::options()
                .create(true)
                .append(true)
                .open(self.directory.path().join(format!("messages-{namespace}")));
            let child = self
                .network
                .command(namespace, SCRIPT)
                .args(["10.77.0.1", "53"])
                .env("PARAM_ZONE", "test.internal")
                .env("PARAM_HOST", format!("host-{}", (namespace - 1) / 2))
                .env("PARAM_ADDRESS", Self::address(namespace))
                .env("PARAM_EXEC", "exec python3 peer.py")
                .env("PARAM_FENCE", "strict")
                .env("PARAM_RENEW", "1")
                .env("PARAM_STOP_GRACE", "1")
                .env("PARAM_LEASE", "8")
                .env("PEER_LOG", self.log(namespace))
                .current_dir(self.directory.path())
                .stdout(Stdio::null())
                .stderr(messages.unwrap())
                .spawn()
                .unwrap();
            *self.scripts[namespace].lock().unwrap() = Some(child);
            loop {
                thread::sleep(Duration::from_millis(50));
                let mut script = self.scripts[namespace].lock().unwrap();
                let child = script.as_mut().unwrap();
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if self.ended.load(Ordering::Relaxed) {
                    signal(child.id(), "CONT");
                    signal(child.id(), "TERM");
                    child.wait().unwrap();
                    return;
                }
            }
        }
    }

    /// The namespace whose peer recorded last that it is running.
    fn running(&self, name: usize) -> Option<usize> {
        let last = |namespace: usize| Some((shown(&self.log(namespace)).pop()?.time, namespace));
        let both = [2 * name + 1, 2 * name + 2];
        both.into_iter().filter_map(last).max().map(|(_, it)| it)
    }

    fn link(&self, namespace: usize, state: &str) {
        let port = format!("port{namespace}");
        self.network.run(0, &["ip", "link", "set", &port, state]);
    }

    fn cut_off(&self, namespace: usize, duration: Duration) {
        self.link(namespace, "down");
        thread::sleep(duration);
        self.link(namespace, "up");
    }

    /// Cuts the first holder of the host name off for longer than its lease, so that
    /// there is a take-over whatever the faults do.
    fn replace(&self, name: usize) {
        let is_running = || self.running(name).is_some();
        eventually(Duration::from_secs(20), "a peer runs", is_running);
        self.cut_off(self.running(name).unwrap(), Duration::from_secs(14));
    }

    /// Injects a fault at the holder of the host name.
    fn disturb(&self, name: usize, random: &mut Random) {
        let Some(namespace) = self.running(name) else {
            return thread::sleep(Duration::from_secs(1));
        };
        match random.below(if name == 0 { 4 } else { 3 }) {
            0 | 1 => {
                self.link(namespace, "down");
                thread::sleep(random.seconds(2, 14));
                self.link(namespace, "up");
            }
            2 => {
                // Only the script: the lease is renewed by another process.
                let script = self.scripts[namespace].lock().unwrap();
                let id = script.as_ref().map(Child::id);
                drop(script);
                if let Some(id) = id {
                    let _ = common::attempt("kill", &["-s", "STOP", &id.to_string()]);
                    thread::sleep(random.seconds(1, 12));
                    let _ = common::attempt("kill", &["-s", "CONT", &id.to_string()]);
                }
            }
            _ => {
                signal(self.service.child.id(), "STOP");
                thread::sleep(random.seconds(1, 14));
                signal(self.service.child.id(), "CONT");
            }
        }
        thread::sleep(random.seconds(0, 4));
    }
}

/// A record of a peer: its process, its epoch, and the time.
struct Shown {
    process: u32,
    epoch: u64,
    time: u64,
}

fn shown(log: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [process, _, epoch, time] = words[..] else {
            return None;
        };
        Some(Shown {
            process: process.parse().ok()?,
            epoch: epoch.parse().ok()?,
            time: time.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// The process of a peer, and when it was first and last recorded as running.
#[derive(Debug)]
struct Run {
    namespace: usize,
    epoch: u64,
    first: u64,
    last: u64,
}

/// All runs under a host name, in order.
fn runs(field: &Field, name: usize) -> Vec<Run> {
    let mut runs: BTreeMap<(usize, u32), Run> = BTreeMap::new();
    for namespace in [2 * name + 1, 2 * name + 2] {
        for shown in shown(&field.log(namespace)) {
            let run = runs.entry((namespace, shown.process)).or_insert(Run {
                namespace,
                epoch: shown.epoch,
                first: shown.time,
                last: shown.time,
            });
            run.last = shown.time;
        }
    }
    let mut runs: Vec<Run> = runs.into_values().collect();
    runs.sort_by_key(|run| run.first);
    runs
}

#[test]
fn the_old_process_is_dead_before_the_new_one_has_the_id() {
    let seed = std::env::var("FENCING_SEED").map_or_else(
        |_| std::process::id().into(),
        |seed| seed.parse::<u64>().unwrap(),
    );
    let rounds: usize = std::env::var("FENCING_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    println!("FENCING_SEED={seed} FENCING_ROUNDS={rounds}");
    let field = Arc::new(Field::new());
    let supervisors: Vec<_> = (1..=2 * NAMES)
        .map(|namespace| {
            let field = field.clone();
            thread::spawn(move || field.supervise(namespace))
        })
        .collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        for name in 0..NAMES {
            let field = &field;
            scope.spawn(move || {
                let mut random = Random(seed * 31 + name as u64 + 1);
                field.replace(name);
                for _ in 0..rounds.div_ceil(NAMES) {
                    field.disturb(name, &mut random);
                }
            });
        }
    });
    // Long enough to replace a peer that was cut off last.
    thread::sleep(Duration::from_secs(14));
    field.ended.store(true, Ordering::Relaxed);
    for supervisor in supervisors {
        supervisor.join().unwrap();
    }
    let mut takeovers = 0;
    for name in 0..NAMES {
        let runs = runs(&field, name);
        for pair in runs.windows(2) {
            assert!(pair[0].last < pair[1].first, "two at once: {pair:?}");
            assert!(pair[0].epoch <= pair[1].epoch, "the epoch falls: {pair:?}");
            if pair[0].namespace != pair[1].namespace {
                assert!(pair[0].epoch < pair[1].epoch, "the same epoch: {pair:?}");
                takeovers += 1;
            }
        }
        assert!(!runs.is_empty(), "nobody has run as host-{name}");
    }
    println!("{takeovers} take-overs in {:?}", begun.elapsed());
    assert!(takeovers >= NAMES, "only {takeovers} take-overs");
}
