//! One replica writes, and another takes over: after a clean stop, a kill, and a
//! suspension that the writer does not notice.

use std::time::{Duration, Instant};

use crate::{
    cluster::Cluster,
    common::{PARAMD, attempt, eventually, run, signal, socket, txt_query},
    replica::{Replica, ZONE, ask, assert_ids, dig, id, serial},
};

const LEASE: u64 = 4;

/// The keys of the zone.
const ZONE_KEYS: &str = "/paramd/1/zones/test.internal./";

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
fn another_replica_is_elected_when_the_writer_is_killed() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let other = two.start();
    assert_ids(other.address, &["a", "b"]);
    run(PARAMD, &["health", "--data", two.data()]);
    let start = Instant::now();
    service.kill();
    // Known peers at once, new ones when there is a writer.
    assert_ids(other.address, &["a", "b"]);
    assert!(start.elapsed() < Duration::from_secs(1));
    eventually(Duration::from_secs(LEASE + 2), "new hosts register", || {
        ask(other.address, "c").contains("\"id=vp2\"")
    });
    // Without its earlier lease being in the way.
    let service = one.start();
    assert_ids(service.address, &["a", "b", "c", "d"]);
    assert_ids(other.address, &["a", "b", "c", "d"]);
}

#[test]
fn another_replica_is_elected_at_once_when_the_writer_stops() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", 60),
        Replica::new(&cluster, "two", 60),
    );
    let service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let other = two.start();
    assert_ids(other.address, &["a", "b"]);
    assert_eq!(service.terminate(), Some(0));
    let start = Instant::now();
    assert_ids(other.address, &["a", "b", "c"]);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(other.terminate(), Some(0));
}

/// It passes on what waits in its socket, and follows.
#[test]
fn a_writer_that_was_suspended_follows_its_successor() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let service = one.start();
    assert_ids(service.address, &["a", "b"]);
    let other = two.start();
    assert_ids(other.address, &["a", "b"]);
    signal(service.child.id(), "STOP");
    let late = socket();
    let query = txt_query(1, &format!("late.{ZONE}"), None);
    late.send_to(&query, service.address).unwrap();
    eventually(Duration::from_secs(LEASE + 3), "new hosts register", || {
        ask(other.address, "c").contains("\"id=vp2\"")
    });
    signal(service.child.id(), "CONT");
    eventually(Duration::from_secs(5), "it passes on", || {
        cluster.stored().contains("\"late\"")
    });
    assert_ids(other.address, &["a", "b", "c", "late", "d"]);
    assert_ids(service.address, &["a", "b", "c", "late", "d", "e"]);
    let log = service.log();
    assert!(log.contains("no longer the writer"), "{log}");
}

/// With the leader key of another, whatever became of the lease.
#[test]
fn a_writer_whose_key_is_gone_stores_nothing_before_it_is_elected_again() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 60);
    let service = replica.start();
    assert_ids(service.address, &["a"]);
    cluster.ctl(&["del", "/paramd/1/leader"]);
    // The request is kept meanwhile.
    assert_ids(service.address, &["a", "b"]);
    let log = service.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("no longer the writer"));
    assert_eq!(lines.count(), 1, "one line: {log}");
    assert_eq!(log.matches("has elected this replica").count(), 2, "{log}");
}

/// A writer that was lost between two transactions: nobody shows the first one under the
/// serial that stands for what was before.
#[test]
fn a_part_of_a_commit_is_shown_under_a_new_serial_only() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let service = one.start();
    assert_ids(service.address, &["a"]);
    let before = serial(service.address);
    service.kill();
    store_a_part(&cluster);
    // The lease of the first one has not ended.
    let service = two.start();
    let address = dig(service.address, &["+short", "A", &format!("b.{ZONE}")]);
    let seen = serial(service.address);
    assert_eq!(address, "127.0.0.1\n");
    assert!(seen > before, "{seen} after {before}");
    assert_eq!(id(service.address, "b"), "vp32");
    assert_ids(service.address, &["a", "c"]);
}

/// The same before the eyes of a follower, which becomes the writer.
#[test]
fn a_follower_shows_a_part_of_a_commit_when_it_is_elected() {
    let cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", LEASE),
        Replica::new(&cluster, "two", LEASE),
    );
    let service = one.start();
    assert_ids(service.address, &["a"]);
    let other = two.start();
    assert_ids(other.address, &["a"]);
    service.kill();
    let before = serial(other.address);
    store_a_part(&cluster);
    eventually(Duration::from_secs(LEASE + 4), "it is shown", || {
        let address = dig(other.address, &["+short", "A", &format!("b.{ZONE}")]);
        let seen = serial(other.address);
        assert!(address.is_empty() || seen > before, "{seen}: {address}");
        !address.is_empty()
    });
    let log = other.log();
    assert!(log.contains("has stored a part of a commit"), "{log}");
    assert_ids(other.address, &["a", "c"]);
}

/// Another replica, which is suspended, has not learned of the release, and may answer the
/// released host again.
#[test]
fn a_replica_that_has_just_started_knows_what_is_withheld() {
    let cluster = Cluster::start(1);
    let etcd = "lease = \"3s\"\nhold = \"8s\"\n";
    let replicas = ["one", "two", "three"].map(|name| Replica::with(&cluster, name, etcd));
    let writer = replicas[0].start();
    assert_ids(writer.address, &["a", "b"]);
    let suspended = replicas[1].start();
    assert_ids(suspended.address, &["a", "b"]);
    signal(suspended.child.id(), "STOP");
    let server = writer.address.to_string();
    let released = attempt(PARAMD, &["release", ZONE, "a", "--server", &server]);
    assert!(!released.status.success(), "not all know: {released:?}");
    assert!(!cluster.stored().contains("\"a\",\"mixed"), "it is stored");
    writer.kill();
    let elected = replicas[2].start();
    eventually(Duration::from_secs(6), "new hosts register", || {
        ask(elected.address, "c").contains("\"id=vp")
    });
    assert_eq!(id(elected.address, "c"), "vp2");
    eventually(Duration::from_secs(12), "all know", || {
        !cluster.stored().contains("\"withheld\"")
    });
    assert_eq!(id(elected.address, "d"), "vp0");
}

/// The host `b` as vp32, in the first of several transactions.
fn store_a_part(cluster: &Cluster) {
    cluster.transact(&[
        (
            &format!("{ZONE_KEYS}blocks/vp/00000001"),
            r#"{"version":1,"peers":[[32,"b","mixed","127.0.0.1","127.0.0.1",2]]}"#,
        ),
        ("/paramd/1/commit", r#"{"version":1,"open":true}"#),
    ]);
}
