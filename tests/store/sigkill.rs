//! SIGKILL at random moments, while hosts register, and are released and pinned
//! by DNS UPDATE: acknowledged changes are kept, refused ones have no effect, and
//! unanswered ones are kept as a whole or not at all.

mod client;
mod ledger;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::common::{Options, Service, random::Random, simple_zone, zones};
use client::{Client, Deed, PATIENCE};
use ledger::Ledger;

const ZONE: &str = "test.internal";

/// Prints its seed when a test fails.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        let given = std::env::var("SIGKILL_SEED").ok();
        let seed = given.map(|seed| seed.parse().expect("SIGKILL_SEED is a number"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(seed.unwrap_or(now.as_nanos() as u64))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with the same choices: SIGKILL_SEED={}", self.0);
        }
    }
}

/// What happens while the service is killed repeatedly.
struct Trial {
    hosts: usize,
    /// How many numbers there are initially, and how many more after each kill,
    /// so that there are always new registrations.
    limit: usize,
    growth: usize,
    updates: bool,
    /// Of each deed, how many must be acknowledged, refused and unknown at the end.
    least: &'static [(&'static str, [u32; 3])],
}

const WORKERS: usize = 4;

impl Trial {
    fn deed(&self, random: &mut Random, limit: usize) -> Deed {
        match random.below(if self.updates { 10 } else { 1 }) {
            0..=4 => Deed::Register,
            5..=7 => Deed::Release,
            // Some of them are outside of the sequence.
            _ => Deed::Pin(random.below(limit + 3) as u32),
        }
    }

    fn write_zone(&self, directory: &Path, limit: usize) {
        let zone = simple_zone("reclaim = \"never\"", &format!("limit = {limit}"));
        fs::write(directory.join("t.toml"), zone).unwrap();
    }

    /// Each host belongs to one worker, so its changes have an order.
    fn work(&self, worker: usize, seed: u64, field: &Field) {
        let mut random = Random::new(seed);
        let mut client = Client::new(field.server, random.next() as u16);
        while !field.stop.load(Ordering::Relaxed) {
            let host = random.below(self.hosts / WORKERS) * WORKERS + worker;
            let limit = field.limit.load(Ordering::Relaxed) as usize;
            let deed = self.deed(&mut random, limit);
            field.ledger.perform(&mut client, host, deed);
        }
    }

    fn has_happened(&self, ledger: &Ledger) -> bool {
        let mut least = self.least.iter();
        least.all(|(deed, least)| {
            let counts = ledger.count(deed);
            counts
                .iter()
                .zip(least)
                .all(|(count, least)| count >= least)
        })
    }

    fn run(&self) -> Ledger {
        let seed = Seed::new();
        let mut random = Random::new(seed.0);
        let kills = 10 + random.below(11);
        let zones = zones(&[]);
        let data = tempfile::tempdir().unwrap();
        self.write_zone(zones.path(), self.limit);
        let mut options = Options::new(zones.path(), data.path());
        options.listen = vec![listen()];
        let mut service = Service::start_with(&options);
        let field = Field {
            server: service.address,
            ledger: Ledger::new(self.hosts),
            limit: AtomicU32::new(self.limit as u32),
            stop: AtomicBool::new(false),
        };
        let service = thread::scope(|scope| {
            // Also if an assertion below fails.
            let stop = StopWhenDropped(&field.stop);
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let seed = random.next();
                    let field = &field;
                    scope.spawn(move || self.work(worker, seed, field))
                })
                .collect();
            // First when all numbers are assigned, then at any moment.
            let began = Instant::now();
            while field.ledger.count("register")[1] == 0 && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(5));
            }
            // On a busy machine little may have happened by then.
            let most = kills * 10;
            for kill in 1..=most {
                if kill > kills && self.has_happened(&field.ledger) {
                    break;
                }
                thread::sleep(Duration::from_millis(random.below(250) as u64));
                service.kill();
                let limit = self.limit + kill * self.growth;
                self.write_zone(zones.path(), limit);
                field.limit.store(limit as u32, Ordering::Relaxed);
                service = Service::start_with(&options);
                if workers.iter().any(|worker| worker.is_finished()) {
                    break;
                }
            }
            drop(stop);
            for worker in workers {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            service
        });
        // The last acknowledged changes are followed by a kill as well.
        service.kill();
        let service = Service::start_with(&options);
        field.ledger.check(&service);
        field.ledger
    }
}

struct Field {
    server: SocketAddr,
    ledger: Ledger,
    limit: AtomicU32,
    stop: AtomicBool,
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An address for this process alone, and a port below those that the system
/// assigns to connections: while the service is down, nobody else gets it.
fn listen() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let process = process::id();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "127.{}.{}.{}:20053",
        (process >> 8) % 250 + 1,
        process % 250 + 1,
        count + 1
    )
}

/// There is nothing to be seen if nothing happened.
fn assert_happened(trial: &Trial, ledger: &Ledger) {
    for (deed, _) in trial.least {
        let counts = ledger.count(deed);
        println!("{deed}: {counts:?} were acknowledged, refused, and unknown");
    }
    assert!(trial.has_happened(ledger), "not {:?}", trial.least);
}

#[test]
fn registrations_are_what_was_acknowledged_whenever_it_is_killed() {
    let trial = Trial {
        hosts: 6_000,
        limit: 20,
        growth: 300,
        updates: false,
        least: &[("register", [1_000, 1, 1])],
    };
    assert_happened(&trial, &trial.run());
}

#[test]
fn releases_and_pins_are_what_was_acknowledged_whenever_it_is_killed() {
    let trial = Trial {
        hosts: 80,
        limit: 40,
        growth: 1,
        updates: true,
        least: &[
            ("register", [100, 1, 0]),
            ("release", [50, 0, 0]),
            ("pin", [20, 1, 0]),
        ],
    };
    assert_happened(&trial, &trial.run());
}
