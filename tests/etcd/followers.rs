//! Replicas that follow the writer: they answer like it, and renew leases for it.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    common::{Service, eventually, signal},
    replica::{Replica, ZONE, ask_at, assert_ids, dig, id, serial},
};

/// The lease of the peers is 4 s.
const LEASE: Duration = Duration::from_secs(4);

/// How soon every replica has a commit.
const SOON: Duration = Duration::from_millis(100);

/// A cluster and running replicas; the first one is the writer.
struct Replicas {
    running: Vec<Service>,
    _replicas: Vec<Replica>,
    cluster: Cluster,
}

impl Replicas {
    fn start(members: usize, replicas: usize) -> Self {
        let cluster = Cluster::start(members);
        let etcd = "hold = \"4s\"\n";
        let names = (0..replicas).map(|place| format!("replica-{place}"));
        let replicas: Vec<Replica> = names
            .map(|name| Replica::short(&cluster, &name, etcd))
            .collect();
        let mut running = Vec::new();
        for replica in &replicas {
            let service = replica.start();
            // It is the writer, or knows who is.
            dig(service.address, &["TXT", &format!("_leave.nobody.{ZONE}")]);
            running.push(service);
        }
        Self {
            running,
            _replicas: replicas,
            cluster,
        }
    }

    fn address(&self, place: usize) -> SocketAddr {
        self.running[place].address
    }

    fn signal(&self, place: usize, name: &str) {
        signal(self.running[place].child.id(), name);
    }
}

fn address_of(server: SocketAddr, host: &str) -> String {
    let text = dig(server, &["+short", "A", &format!("{host}.{ZONE}")]);
    text.trim().to_owned()
}

#[test]
fn all_replicas_answer_alike_within_100_ms() {
    let replicas = Replicas::start(1, 3);
    for place in 0..30 {
        let host = format!("host-{place}");
        let address = format!("10.0.0.{}", place + 1);
        let answer = ask_at(replicas.address(place % 3), &host, &address);
        assert!(answer.contains(&format!("\"id=vp{place}\"")), "{answer}");
        thread::sleep(SOON);
        for other in 0..3 {
            assert_eq!(address_of(replicas.address(other), &host), address);
        }
        // Another replica knows it, and answers the holder alike.
        let again = ask_at(replicas.address((place + 1) % 3), &host, &address);
        let strings = |answer: &str| {
            let lines = answer.lines().find(|line| line.contains("\"id="));
            lines
                .unwrap_or_else(|| panic!("an answer: {answer}"))
                .to_owned()
        };
        let epoch = |answer: &str| strings(answer).split("epoch=").nth(1).unwrap().to_owned();
        assert_eq!(epoch(&again), epoch(&answer));
    }
    let serials: Vec<u32> = (0..3)
        .map(|place| serial(replicas.address(place)))
        .collect();
    assert!(serials.iter().all(|it| *it == serials[0]), "{serials:?}");
    let zones: Vec<String> = (0..3)
        .map(|place| {
            let zone = dig(replicas.address(place), &["+tcp", "AXFR", ZONE]);
            let lines = zone.lines().filter(|line| !line.starts_with(';'));
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    assert!(zones[0].contains("host-29"), "{}", zones[0]);
    assert_eq!(zones[0], zones[1]);
    assert_eq!(zones[0], zones[2]);
}

#[test]
fn exactly_the_first_of_many_has_no_root_node() {
    let replicas = Replicas::start(1, 3);
    let addresses: Vec<SocketAddr> = (0..3).map(|place| replicas.address(place)).collect();
    let threads = (1..=12).map(|place| {
        let server = addresses[place % 3];
        thread::spawn(move || ask_at(server, &format!("h{place}"), &format!("10.0.0.{place}")))
    });
    let threads: Vec<_> = threads.collect();
    let answers = threads.into_iter().map(|thread| thread.join().unwrap());
    let answers: Vec<String> = answers.collect();
    let first = answers.iter().filter(|it| it.contains("\"root=\""));
    let first: Vec<&String> = first.collect();
    assert_eq!(first.len(), 1, "{answers:#?}");
    assert!(first[0].contains("\"id=vp0\""), "{first:?}");
}

/// The writer ends no lease that a follower renews.
#[test]
fn a_lease_that_a_follower_renews_counts_everywhere() {
    let replicas = Replicas::start(1, 3);
    ask_at(replicas.address(1), "a", "10.0.0.1");
    let start = Instant::now();
    while start.elapsed() < 4 * LEASE {
        // Its holder asks one follower only; another client asks the others.
        let answer = ask_at(replicas.address(1), "a", "10.0.0.1");
        assert!(answer.contains("address=10.0.0.1:"), "{answer}");
        for other in [0, 2] {
            let answer = ask_at(replicas.address(other), "a", "10.0.0.9");
            assert!(answer.contains("address=10.0.0.1:"), "{answer}");
        }
        thread::sleep(Duration::from_secs(1));
    }
    // When it falls silent, its lease ends at all replicas.
    eventually(3 * LEASE, "the lease ends", || {
        (0..3).all(|place| address_of(replicas.address(place), "a").is_empty())
    });
    let taken = ask_at(replicas.address(2), "a", "10.0.0.9");
    assert!(taken.contains("address=10.0.0.9:"), "{taken}");
    assert!(taken.contains("\"id=vp0\""), "{taken}");
}

#[test]
fn heartbeats_go_on_at_the_others_while_the_writer_is_lost() {
    for signal_name in ["KILL", "STOP"] {
        let replicas = Replicas::start(1, 3);
        assert_ids(replicas.address(1), &["a", "b"]);
        thread::sleep(Duration::from_secs(2));
        replicas.signal(0, signal_name);
        let start = Instant::now();
        let mut registered = None;
        while start.elapsed() < Duration::from_secs(8) {
            for place in [1, 2] {
                let asked = Instant::now();
                assert_ids(replicas.address(place), &["a", "b"]);
                assert!(
                    asked.elapsed() < Duration::from_secs(1),
                    "{:?}",
                    asked.elapsed()
                );
            }
            let answer = ask_at(replicas.address(1), "c", "127.0.0.1");
            if registered.is_none() && answer.contains("\"id=vp2\"") {
                registered = Some(start.elapsed());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let within = registered.expect("a new host registers");
        assert!(within < Duration::from_secs(5), "{within:?}");
        // So that it can be ended.
        replicas.signal(0, "CONT");
    }
}

/// It would have to answer from memory whatever has happened meanwhile.
#[test]
fn a_follower_that_was_suspended_renews_nothing_by_itself() {
    let replicas = Replicas::start(1, 2);
    ask_at(replicas.address(1), "a", "10.0.0.1");
    ask_at(replicas.address(1), "a", "10.0.0.1");
    replicas.signal(1, "STOP");
    // Its lease cannot be renewed there, and ends.
    eventually(5 * LEASE, "another takes it over", || {
        ask_at(replicas.address(0), "a", "10.0.0.2").contains("address=10.0.0.2:")
    });
    replicas.signal(1, "CONT");
    for _ in 0..5 {
        let answer = ask_at(replicas.address(1), "a", "10.0.0.1");
        assert!(!answer.contains("address=10.0.0.1:"), "{answer}");
    }
    eventually(2 * LEASE, "it follows again", || {
        ask_at(replicas.address(1), "a", "10.0.0.1").contains("address=10.0.0.2:")
    });
}

#[test]
fn what_was_compacted_away_meanwhile_is_read_anew() {
    let mut replicas = Replicas::start(1, 2);
    assert_ids(replicas.address(1), &["a"]);
    replicas.signal(1, "STOP");
    // The stream of the watch ends, and the follower cannot start another.
    replicas.cluster.kill_member(0);
    replicas.cluster.start_member(0);
    replicas.cluster.wait();
    eventually(Duration::from_secs(10), "new hosts register", || {
        ask_at(replicas.address(0), "host-1", "127.0.0.1").contains("\"id=vp1\"")
    });
    for place in 2..20 {
        let host = format!("host-{place}");
        assert_eq!(id(replicas.address(0), &host), format!("vp{place}"));
    }
    let cluster = &replicas.cluster;
    let status = cluster.ctl(&["endpoint", "status", "--write-out=json"]);
    let revision = status.split("\"revision\":").nth(1).unwrap();
    let revision = revision
        .split(|it: char| !it.is_ascii_digit())
        .next()
        .unwrap();
    cluster.ctl(&["compact", revision]);
    replicas.signal(1, "CONT");
    eventually(Duration::from_secs(10), "it has everything", || {
        address_of(replicas.address(1), "host-19") == "127.0.0.1"
    });
    assert_eq!(serial(replicas.address(0)), serial(replicas.address(1)));
    let log = replicas.running[1].log();
    assert!(log.contains("was compacted away"), "{log}");
}

#[test]
fn the_cookie_of_one_replica_is_good_at_another() {
    let replicas = Replicas::start(1, 2);
    let name = format!("a.{ZONE}");
    let cookie = |server, more: &[&str]| {
        let answer = dig(
            server,
            &[more, &["+cookie=0011223344556677", "TXT", &name]].concat(),
        );
        let line = answer.lines().find(|line| line.contains("COOKIE: "));
        let line = line.unwrap_or_else(|| panic!("a cookie: {answer}"));
        line.split("COOKIE: ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    let first = cookie(replicas.address(0), &[]);
    let answer = dig(
        replicas.address(1),
        &["+nobadcookie", &format!("+cookie={first}"), "TXT", &name],
    );
    assert!(answer.contains("(good)"), "{answer}");
    assert!(!answer.contains("BADCOOKIE"), "{answer}");
}
