//! A run: a cluster, its clients, and its faults, from the start to the last look.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    checker::Law,
    clients::{self, Client, Field, last_look, parts},
    cluster::{Cluster, REPLICAS, Times},
    common::random::Random,
    faults::MAX_STOP,
    history::{History, Host, Sequence},
    recorder::Recorder,
    rounds::Rounds,
};

/// How soon the first host must be registered.
const START: Duration = Duration::from_secs(60);

/// The clients have the numbers below this, those of the last look the next ones.
const LAST_LOOK: u8 = 80;
const CLIENTS: u8 = 90;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Anything, at random.
    Faults,
    /// The writer is suspended until another one is elected.
    Depose,
}

pub fn times() -> Times {
    Times {
        lease: Duration::from_secs(5),
        reclaim: Duration::from_secs(15),
        hold: Duration::from_secs(4),
        writer_lease: Duration::from_secs(3),
    }
}

pub fn law() -> Law {
    let Times { lease, reclaim, .. } = times();
    Law {
        lease,
        reclaim,
        // After up to 2 s a replica uses another member of etcd.
        arrival: Duration::from_secs(5),
        reconnection: Duration::from_secs(5),
        // A commit takes seconds, and may wait for another.
        late: MAX_STOP + Duration::from_secs(15),
        recovery: Duration::from_secs(30),
    }
}

/// Sets it when it is dropped, also by a panic, so that the clients end.
struct IsOver<'f>(&'f AtomicBool);

impl Drop for IsOver<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs for so long, with files in the directory.
pub fn run(mode: Mode, time: Duration, seed: u64, directory: &Path) -> History {
    let mut random = Random::new(seed);
    let addresses: Vec<_> = (1..CLIENTS).map(clients::address).collect();
    let mut cluster = Cluster::start(directory, &times(), &addresses);
    let field = Field {
        recorder: Recorder::start(),
        namespace: cluster.clients().to_owned(),
        replicas: cluster.servers(),
        is_over: AtomicBool::new(false),
    };
    let recorder = &field.recorder;
    let mut rounds = Rounds {
        cluster: &mut cluster,
        recorder,
        random: Random::new(random.next()),
    };
    let hosts = hosts();
    thread::scope(|scope| {
        let _over = IsOver(&field.is_over);
        let start = Instant::now();
        let mut cast = Cast {
            random: Random::new(random.next()),
            number: 0,
            patience: match mode {
                Mode::Faults => [1_000, 5_000],
                // Longer than the writer is suspended.
                Mode::Depose => [8_000, 12_000],
            },
        };
        match mode {
            Mode::Faults => cast.all(scope, &field, &hosts),
            Mode::Depose => cast.newcomers(scope, &field, 4 * REPLICAS, [0, 100]),
        }
        while recorder.registered().is_empty() {
            assert!(start.elapsed() < START, "no host registers");
            rounds.look_after(Duration::from_millis(100));
        }
        let until = recorder.now() + time;
        match mode {
            Mode::Faults => rounds.play(until),
            Mode::Depose => rounds.depose(until),
        }
    });
    let seed = random.next();
    thread::scope(|scope| {
        let look = scope.spawn(|| last_look::look(&field, LAST_LOOK, &mut Random::new(seed)));
        while !look.is_finished() {
            rounds.look_after(Duration::from_millis(100));
        }
    });
    for defect in cluster.defects() {
        field.recorder.defect(defect);
    }
    field.recorder.finish()
}

/// The hosts for which clients live.
fn hosts() -> Vec<Host> {
    let host = |tag: char, number: usize, sequence| parts::host(format!("{tag}{number}"), sequence);
    let open = (0..6).map(|number| host('h', number, Sequence::Open));
    let limited = (0..6).map(|number| host('l', number, Sequence::Limited));
    open.chain(limited).collect()
}

/// Gives each client its number, its seed, its patience, and its part.
struct Cast {
    random: Random,
    number: u8,
    patience: [usize; 2],
}

impl Cast {
    /// All clients.
    fn all<'s, 'e>(
        &mut self,
        scope: &'s thread::Scope<'s, 'e>,
        field: &'e Field,
        hosts: &'e [Host],
    ) {
        for (place, host) in hosts.iter().enumerate() {
            // Two want each host of the open sequence, and some of the others.
            let count = match host.sequence {
                Sequence::Open => 2,
                Sequence::Limited => 1 + usize::from(place % 3 == 0),
            };
            for _ in 0..count {
                self.spawn(scope, field, move |client| parts::live(client, host));
            }
        }
        self.newcomers(scope, field, 6, [200, 700]);
        for _ in 0..2 {
            self.spawn(scope, field, parts::come_back);
        }
        for _ in 0..3 {
            self.spawn(scope, field, |client| parts::read(client, hosts));
        }
        self.spawn(scope, field, |client| parts::administer(client, hosts));
    }

    /// Clients that register new hosts.
    fn newcomers<'s, 'e>(
        &mut self,
        scope: &'s thread::Scope<'s, 'e>,
        field: &'e Field,
        count: usize,
        pause: [usize; 2],
    ) {
        for number in 0..count {
            let part = move |client: Client<'_>| parts::come(client, &format!("n{number}"), pause);
            self.spawn(scope, field, part);
        }
    }

    /// Half of the clients stick to a replica, and half ask any.
    fn spawn<'s, 'e>(
        &mut self,
        scope: &'s thread::Scope<'s, 'e>,
        field: &'e Field,
        part: impl FnOnce(Client<'e>) + Send + 's,
    ) {
        self.number += 1;
        let (number, patience) = (self.number, self.patience);
        let seed = self.random.next();
        assert!(number < LAST_LOOK, "each client has a number of its own");
        scope.spawn(move || {
            let client = Client::new(field, number, seed, patience);
            part(match number % 2 {
                0 => client.at_home(usize::from(number / 2)),
                _ => client,
            });
        });
    }
}
