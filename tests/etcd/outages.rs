//! An etcd that does not answer, or takes nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    common::{PARAMD, attempt, eventually, fails_with},
    replica::{Replica, ZONE, ask, assert_ids, dig, id},
};

#[test]
fn without_a_quorum_known_peers_are_answered_and_new_ones_when_it_is_back() {
    let mut cluster = Cluster::start(3);
    let replica = Replica::with(&cluster, "one", "lease = \"120s\"\nhold = \"120s\"\n");
    let mut service = replica.start();
    let server = service.address;
    assert_ids(server, &["a", "b"]);
    for place in [0, 1] {
        cluster.kill_member(place);
    }
    for _ in 0..2 {
        let start = Instant::now();
        let refused = ask(server, "c");
        let limit = param_daemon::store::etcd::COMMIT + Duration::from_secs(1);
        assert!(start.elapsed() < limit, "{:?}", start.elapsed());
        assert!(refused.contains("status: SERVFAIL"), "{refused}");
        assert!(refused.contains("EDE: "), "{refused}");
        assert_ids(server, &["a", "b"]);
    }
    let log = service.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("cannot write to etcd://"));
    assert_eq!(lines.count(), 1, "one line: {log}");
    for place in [0, 1] {
        cluster.start_member(place);
    }
    cluster.wait();
    eventually(Duration::from_secs(20), "new hosts register", || {
        ask(server, "c").contains("\"id=vp2\"")
    });
    assert_eq!(service.child.try_wait().unwrap(), None, "it has not ended");
    // One member is enough to lose, whichever the service uses.
    for place in 0..3 {
        cluster.kill_member(place);
        let host = format!("further-{place}");
        eventually(Duration::from_secs(20), "new hosts register", || {
            ask(server, &host).contains(&format!("\"id=vp{}\"", 3 + place))
        });
        cluster.start_member(place);
        cluster.wait();
    }
}

#[test]
fn a_member_that_is_replaced_counts() {
    let mut cluster = Cluster::start(3);
    let replica = Replica::new(&cluster, "one", 6);
    let service = replica.start();
    assert_ids(service.address, &["a"]);
    // The first one is that which the service uses.
    cluster.replace_member(0);
    eventually(Duration::from_secs(10), "new hosts register", || {
        ask(service.address, "b").contains("\"id=vp1\"")
    });
    // Without it, there would be no quorum.
    cluster.kill_member(1);
    eventually(Duration::from_secs(20), "new hosts register", || {
        ask(service.address, "c").contains("\"id=vp2\"")
    });
    assert_ids(service.address, &["a", "b", "c"]);
}

/// It answers within a second or two, as one with a slow disk.
#[test]
fn a_slow_etcd_delays_new_hosts_and_nobody_else() {
    let cluster = Cluster::start(1);
    let replica = Replica::with(&cluster, "one", "lease = \"60s\"\nhold = \"60s\"\n");
    let service = replica.start();
    let server = service.address;
    assert_ids(server, &["known"]);
    let mut ids = Vec::new();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            for _ in 0..6 {
                cluster.signal_member(0, "STOP");
                thread::sleep(Duration::from_millis(1_200));
                cluster.signal_member(0, "CONT");
                thread::sleep(Duration::from_millis(150));
            }
        });
        for number in 0.. {
            if slow.is_finished() {
                break;
            }
            let start = Instant::now();
            assert_ids(server, &["known"]);
            assert!(
                start.elapsed() < Duration::from_secs(1),
                "{:?}",
                start.elapsed()
            );
            let host = format!("host-{number}");
            let answer = ask(server, &host);
            let is_late = answer.contains("status: SERVFAIL");
            assert!(is_late || answer.contains("\"id=vp"), "{answer}");
            ids.push((host, is_late));
        }
    });
    assert!(ids.len() > 2, "{ids:?}");
    let mut all: Vec<String> = ids.iter().map(|(host, _)| id(server, host)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), ids.len(), "{all:?}");
}

/// A connection to a member that stands still gives no sign of it.
#[test]
fn a_member_that_stands_still_is_left_for_another() {
    let cluster = Cluster::start(3);
    let replica = Replica::new(&cluster, "one", 6);
    let mut service = replica.start();
    assert_ids(service.address, &["a"]);
    // The service uses the first one as long as that answers.
    cluster.signal_member(0, "STOP");
    let start = Instant::now();
    eventually(Duration::from_secs(20), "new hosts register", || {
        ask(service.address, "b").contains("\"id=vp1\"")
    });
    // For longer than the lease.
    while start.elapsed() < Duration::from_secs(9) {
        assert_ids(service.address, &["a", "b"]);
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(service.child.try_wait().unwrap(), None, "{}", service.log());
    cluster.signal_member(0, "CONT");
}

/// The lease ends by the service's own clock, too.
#[test]
fn a_writer_that_cannot_reach_etcd_answers_known_peers_for_a_while_and_recovers() {
    let mut cluster = Cluster::start(1);
    let replica = Replica::with(&cluster, "one", "hold = \"6s\"\n");
    let service = replica.start();
    let server = service.address;
    assert_ids(server, &["a"]);
    cluster.kill_member(0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        assert_ids(server, &["a"]);
        thread::sleep(Duration::from_millis(300));
    }
    let refused = ask(server, "b");
    assert!(refused.contains("status: SERVFAIL"), "{refused}");
    eventually(Duration::from_secs(10), "it no longer vouches", || {
        ask(server, "a").contains("status: SERVFAIL")
    });
    let refused = ask(server, "a");
    assert!(refused.contains("no contact with the writer"), "{refused}");
    // Names that do not register are answered.
    assert_eq!(
        dig(server, &["+short", &format!("vp0.{ZONE}")]),
        "127.0.0.1\n"
    );
    let log = service.log();
    assert!(log.contains("has not extended the lease for 3s"), "{log}");
    cluster.start_member(0);
    cluster.wait();
    eventually(Duration::from_secs(10), "new hosts register", || {
        ask(server, "b").contains("\"id=vp1\"")
    });
    assert_ids(server, &["a"]);
}

#[test]
fn an_etcd_that_nobody_runs_is_reported() {
    let mut cluster = Cluster::start(1);
    cluster.kill_member(0);
    let replica = Replica::new(&cluster, "one", 3);
    let start = Instant::now();
    let said = replica.refused();
    assert!(
        said.contains("paramd: cannot use etcd://127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("/: Connection refused"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_full_etcd_takes_no_new_hosts_until_it_has_space() {
    let quota = ["--quota-backend-bytes", "1000000"];
    let cluster = Cluster::start_with(1, &quota, &[], "http");
    let replica = Replica::new(&cluster, "one", 60);
    let service = replica.start();
    let server = service.address;
    assert_ids(server, &["a", "b"]);
    let value = "x".repeat(100_000);
    for _ in 0..30 {
        if !cluster.try_ctl(&["put", "/other", &value]).status.success() {
            break;
        }
    }
    assert!(cluster.ctl(&["alarm", "list"]).contains("NOSPACE"));
    let refused = ask(server, "c");
    assert!(refused.contains("status: SERVFAIL"), "{refused}");
    assert_ids(server, &["a", "b"]);
    let log = service.log();
    assert!(log.contains("etcd has reached its quota"), "{log}");
    assert!(log.contains("only for as long as `hold` says"), "{log}");
    assert!(log.contains("etcdctl alarm disarm"), "{log}");
    let status = cluster.ctl(&["endpoint", "status", "--write-out=json"]);
    let revision = status.split("\"revision\":").nth(1).unwrap();
    let revision = revision
        .split(|it: char| !it.is_ascii_digit())
        .next()
        .unwrap();
    cluster.ctl(&["del", "/other"]);
    cluster.ctl(&["compact", revision]);
    cluster.ctl(&["defrag"]);
    cluster.ctl(&["alarm", "disarm"]);
    eventually(Duration::from_secs(10), "new hosts register", || {
        ask(server, "c").contains("\"id=vp2\"")
    });
    assert_eq!(id(server, "b"), "vp1");
}

#[test]
fn what_is_no_store_is_told() {
    for store in ["etcd", "etcd://", "http://127.0.0.1:2379", "etcd://a:b"] {
        let said = fails_with(2, PARAMD, &["serve", "--store", store]);
        assert!(said.contains("write sled, or etcd://"), "{said}");
    }
    let help = attempt(PARAMD, &["serve", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("etcd://HOST"), "{help}");
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("peers.sled")).unwrap();
    let zones = crate::common::shipped_zones();
    let mut arguments = vec!["serve", "--store", "etcd://127.0.0.1:1", "--zones"];
    arguments.extend([zones.to_str().unwrap(), "--data"]);
    arguments.push(data.path().to_str().unwrap());
    let said = fails_with(1, PARAMD, &arguments);
    assert!(said.contains("has a database of --store sled"), "{said}");
}
