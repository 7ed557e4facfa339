//! Replicas that do not fit together: another `hold`, other zone files, a copied data
//! directory; and an etcd that somebody has emptied.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    common::{Service, eventually, run, simple_zone},
    replica::{Replica, ZONE, ask, ask_briefly, assert_ids, id},
};

const ELECTED: &str = "has elected this replica as the writer";

fn eventually_logs(service: &Service, text: &str) {
    eventually(Duration::from_secs(12), text, || {
        service.log().contains(text)
    });
}

#[test]
fn all_replicas_use_the_hold_of_the_first_one() {
    let cluster = Cluster::start(1);
    let one = Replica::new(&cluster, "one", 3).start();
    let two = Replica::with(&cluster, "two", "hold = \"2m\"\n").start();
    eventually_logs(&two, "`hold` in [etcd] is 2m, and the replicas use 2s");
    assert!(two.log().contains("/paramd/1/hold"), "{}", two.log());
    assert_ids(one.address, &["a"]);
    assert_ids(two.address, &["a"]);
    // Nobody tells the second one anything from now on.
    cluster.signal_member(0, "STOP");
    one.kill();
    let start = Instant::now();
    eventually(Duration::from_secs(8), "it no longer answers", || {
        ask(two.address, "a").contains("status: SERVFAIL")
    });
    assert!(start.elapsed() < Duration::from_secs(7), "2 s, not 2 min");
    eventually_logs(&two, "known peers are not answered either");
    cluster.signal_member(0, "CONT");
}

#[test]
fn a_copy_of_a_data_directory_is_refused() {
    let cluster = Cluster::start(1);
    let etcd = "lease = \"3s\"\nhold = \"2s\"\n";
    let writer = Replica::with(&cluster, "one", etcd).start();
    let two = Replica::with(&cluster, "two", etcd);
    let copy = Replica::with(&cluster, "copy", etcd);
    assert_eq!(two.start().terminate(), Some(0));
    run("cp", &["-a", &format!("{}/.", two.data()), copy.data()]);
    let two = two.start();
    assert_ids(two.address, &["a"]);
    let copy = copy.start();
    eventually_logs(
        &copy,
        "refuses this replica: its data directory has the identity",
    );
    assert!(writer.log().contains("is refused"), "{}", writer.log());
    // It renews no lease.
    let answer = ask(copy.address, "a");
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    assert_ids(two.address, &["a"]);
    // The other one may start again at once.
    assert_eq!(two.terminate(), Some(0));
    eventually(Duration::from_secs(15), "the copy is alone", || {
        ask(copy.address, "a").contains("\"id=vp0\"")
    });
}

#[test]
fn a_replica_without_a_zone_is_named_and_stands_back() {
    let cluster = Cluster::start(1);
    let etcd = "lease = \"3s\"\nhold = \"2s\"\n";
    let other = simple_zone("", "").replace(ZONE, "other.internal");
    let with_both = |name| {
        let replica = Replica::with(&cluster, name, etcd);
        replica.add_zone("o.toml", &other);
        replica
    };
    let (one, three) = (with_both("one"), with_both("three"));
    let one = one.start();
    let answer = ask_briefly(one.address, "a");
    assert!(answer.contains("\"id=vp0\""), "{answer}");
    let in_other = |service: &Service| {
        let server = format!("@{}", service.address.ip());
        let port = service.address.port().to_string();
        run(
            "dig",
            &[&server, "-p", &port, "+tries=1", "TXT", "b.other.internal"],
        )
    };
    assert!(in_other(&one).contains("\"id=vp0\""));
    let two = Replica::short(&cluster, "two", etcd).start();
    eventually_logs(
        &two,
        "the writer one has another file of the zone test.internal.",
    );
    eventually_logs(&one, "has no file of the zone other.internal.");
    let three = three.start();
    assert_eq!(id(three.address, "a"), "vp0");
    one.kill();
    eventually_logs(&three, ELECTED);
    assert!(!two.log().contains(ELECTED), "{}", two.log());
    assert!(in_other(&three).contains("\"id=vp0\""));
    // Where there is no better one, it writes.
    three.kill();
    eventually_logs(&two, ELECTED);
}

#[test]
fn a_snapshot_with_everything_is_good_after_somebody_has_emptied_etcd() {
    let mut cluster = Cluster::start(1);
    let (one, two) = (
        Replica::new(&cluster, "one", 3),
        Replica::new(&cluster, "two", 3),
    );
    let running = [one.start(), two.start()];
    assert_ids(running[0].address, &["a", "b"]);
    assert_ids(running[1].address, &["a", "b"]);
    let snapshot = cluster.path("snapshot.db");
    cluster.ctl(&["snapshot", "save", snapshot.to_str().unwrap()]);
    cluster.ctl(&["del", "--prefix", "/paramd/1/"]);
    for mut service in running {
        eventually(Duration::from_secs(15), "it ends", || {
            service.child.try_wait().unwrap().is_some()
        });
    }
    cluster.restore(&snapshot, "paramd");
    // The snapshot has the leader key of the writer, under a lease.
    thread::sleep(Duration::from_secs(4));
    for replica in [&one, &two] {
        let service = replica.start();
        assert_ids(service.address, &["a", "b"]);
        assert_eq!(service.terminate(), Some(0));
    }
}
