//! One replica writes, and another takes over: after a clean stop, a kill, and a
//! suspension that the writer does not notice.

use std::time::{Duration, Instant};

use crate::{
    cluster::Cluster,
    common::{PARAMD, eventually, run, signal, socket, txt_query},
    replica::{Replica, ZONE, ask_briefly, assert_ids, id},
};

const LEASE: u64 = 4;

#[test]
fn registrations_survive_a_restart_of_the_service_and_of_etcd() {
    let mut cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", LEASE);
    let service = replica.start();
    assert_ids(service.address, &["a", "b", "c"]);
    let server = service.address.to_string();
    let zones = ["--server", &server];
    let peers = run(PARAMD, &[&["peers", ZONE][..], &zones].concat());
    assert!(peers.contains("vp2"), "{peers}");
    let dump = run(PARAMD, &[&["dump", ZONE][..], &zones].concat());
    assert!(dump.contains("vp1"), "{dump}");
    run(PARAMD, &[&["release", ZONE, "b"][..], &zones].concat());
    run(PARAMD, &["health", "--data", replica.data()]);
    assert_eq!(service.terminate(), Some(0));
    let dumps = replica.data.path().join("dumps").join(ZONE);
    assert_eq!(std::fs::read_dir(dumps).unwrap().count(), 1, "a dump");
    assert!(!replica.data.path().join("peers.sled").exists());
    assert!(!replica.data.path().join("journal").exists());
    cluster.kill_member(0);
    cluster.start_member(0);
    cluster.wait();
    let start = Instant::now();
    let service = replica.start();
    // The leader key was given up.
    assert!(start.elapsed() < Duration::from_secs(LEASE), "at once");
    assert_eq!(id(service.address, "c"), "vp2");
    assert_eq!(id(service.address, "d"), "vp1");
    let stored = cluster.stored();
    assert!(stored.contains("\"d\""), "{stored}");
    assert!(!stored.contains("\"b\""), "{stored}");
}

#[test]
fn a_standby_takes_over_from_a_writer_that_is_killed() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let mut standby = two.stand_by("one");
    run(PARAMD, &["health", "--data", two.data()]);
    let start = Instant::now();
    service.kill();
    let server = standby.answers();
    let limit = Duration::from_secs(LEASE + 1);
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
    assert_ids(server, &["a", "b", "c"]);
}

#[test]
fn a_standby_takes_over_at_once_from_a_writer_that_stops() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", 60),
        Replica::new(&cluster, "two", 60),
    );
    let service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let mut standby = two.stand_by("one");
    let third = Replica::new(&cluster, "three", 60);
    assert_eq!(third.stand_by("one").terminate(), Some(0), "SIGTERM");
    assert_eq!(service.terminate(), Some(0));
    let start = Instant::now();
    let server = standby.answers();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_ids(
        server,
        &["b", "a"]
            .map(|host| host)
            .iter()
            .rev()
            .copied()
            .collect::<Vec<_>>(),
    );
    assert_eq!(id(server, "c"), "vp2");
}

/// The lease does not keep an old writer from writing: the compare does.
#[test]
fn a_writer_that_was_suspended_stores_nothing_after_its_successor() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let mut service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let mut standby = two.stand_by("one");
    signal(service.child.id(), "STOP");
    // Waits in the socket of the suspended writer.
    let late = socket();
    let query = txt_query(1, &format!("late.{ZONE}"), None);
    late.send_to(&query, service.address).unwrap();
    let server = standby.answers();
    assert_eq!(id(server, "c"), "vp2");
    signal(service.child.id(), "CONT");
    let status = service.child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{}", service.log());
    let log = service.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.starts_with("paramd: this replica is no longer the writer"),
        "{log}"
    );
    assert!(
        !cluster.stored().contains("\"late\""),
        "{}",
        cluster.stored()
    );
    assert_ids(server, &["a", "b", "c", "d"]);
}

/// With the leader key of another, whatever became of the lease.
#[test]
fn a_writer_whose_key_is_gone_ends() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 60);
    let mut service = replica.start();
    assert_ids(service.address, &["a"]);
    cluster.ctl(&["del", "/paramd/1/leader"]);
    let late = ask_briefly(service.address, "b");
    assert!(!late.contains("\"id="), "{late}");
    eventually(Duration::from_secs(10), "it ends", || {
        service.child.try_wait().unwrap().is_some()
    });
    assert_eq!(service.child.wait().unwrap().code(), Some(1));
    assert!(!cluster.stored().contains("\"b\""));
    let log = service.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("no longer the writer"));
    assert_eq!(lines.count(), 1, "one line: {log}");
}
