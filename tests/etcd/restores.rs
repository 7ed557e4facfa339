//! An etcd that has lost something, and dumps that bring it back.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    common::{PARAMD, dump_of_zone, fails_with, pipe, run},
    replica::{Replica, ZONE, ask_briefly, assert_ids, id, serial},
};

/// The newest dump in the data directory.
fn newest_dump(replica: &Replica) -> PathBuf {
    let folder = replica.data.path().join("dumps").join(ZONE);
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.max().unwrap()
}

fn restore_arguments(replica: &Replica, file: &str) -> Vec<String> {
    let mut arguments = vec!["restore".to_owned(), file.to_owned()];
    arguments.extend(["--data".to_owned(), replica.data().to_owned()]);
    arguments.extend(replica.options());
    arguments
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn an_older_snapshot_is_refused_and_a_dump_brings_everything_back() {
    let mut cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a"]);
    let snapshot = cluster.path("snapshot.db");
    cluster.ctl(&["snapshot", "save", snapshot.to_str().unwrap()]);
    assert_ids(service.address, &["a", "b", "c"]);
    assert_eq!(service.terminate(), Some(0));
    cluster.restore(&snapshot, "paramd");
    // The snapshot has the leader key of the service, under a lease.
    for _ in 0..2 {
        let said = replica.refused();
        assert!(said.contains(" was acknowledged"), "{said}");
        assert!(
            said.contains("paramd restore FILE --store etcd://"),
            "{said}"
        );
        assert!(said.contains("new data directory"), "{said}");
    }
    let dump = newest_dump(&replica);
    let arguments = restore_arguments(&replica, dump.to_str().unwrap());
    // Until the lease in the snapshot has ended.
    thread::sleep(Duration::from_secs(5));
    let said = fails_with(1, PARAMD, &borrowed(&arguments));
    assert!(said.contains("already has 1 registration"), "{said}");
    assert!(
        said.contains("etcdctl del --prefix /paramd/1/zones/"),
        "{said}"
    );
    cluster.ctl(&["del", "--prefix", "/paramd/1/"]);
    let said = run(PARAMD, &borrowed(&arguments));
    assert!(
        said.contains("restored 3 registrations of test.internal"),
        "{said}"
    );
    let service = replica.start();
    assert_ids(service.address, &["a", "b", "c", "d"]);
}

#[test]
fn a_snapshot_that_is_put_back_under_a_running_service_ends_it() {
    let mut cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 60);
    let mut service = replica.start();
    assert_ids(service.address, &["a"]);
    let snapshot = cluster.path("snapshot.db");
    cluster.ctl(&["snapshot", "save", snapshot.to_str().unwrap()]);
    assert_ids(service.address, &["a", "b"]);
    // With the leader key and the lease of the service.
    cluster.restore(&snapshot, "paramd");
    let start = Instant::now();
    while service.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed().as_secs() < 30, "{}", service.log());
        let answer = ask_briefly(service.address, "c");
        assert!(!answer.contains("\"id="), "{answer}");
    }
    assert_eq!(service.child.wait().unwrap().code(), Some(1));
    let log = service.log();
    assert!(log.lines().last().unwrap().starts_with("paramd: "), "{log}");
    assert!(!cluster.stored().contains("\"c\""), "{}", cluster.stored());
    let said = replica.refused();
    assert!(said.contains(" was acknowledged"), "{said}");
}

#[test]
fn another_cluster_is_refused() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a"]);
    assert_eq!(service.terminate(), Some(0));
    let other = Cluster::start(1);
    let elsewhere = Replica::new(&other, "one", 3);
    let witness = "etcd-witness";
    std::fs::copy(
        replica.data.path().join(witness),
        elsewhere.data.path().join(witness),
    )
    .unwrap();
    let said = elsewhere.refused();
    assert!(said.contains("but the registrations were in "), "{said}");
    assert!(said.contains("--store"), "{said}");
    assert!(other.stored().is_empty(), "{}", other.stored());
}

#[test]
fn a_dump_fills_an_empty_prefix_and_no_other() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let arguments = restore_arguments(&replica, "-");
    // More than one commit, and many transactions.
    let dump = dump_of_zone(ZONE, 9_000);
    let restored = pipe(PARAMD, &borrowed(&arguments), &dump);
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(said.contains("restored 9000 registrations"), "{restored:?}");
    let restored = pipe(PARAMD, &borrowed(&arguments), &dump);
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(said.contains("already has 9000 registrations"), "{said}");
    let service = replica.start();
    assert_eq!(id(service.address, "host-8999"), "vp8999");
    assert_eq!(id(service.address, "new"), "vp9000");
    // The writer is another one.
    let third = Replica::new(&cluster, "three", 3);
    let arguments = restore_arguments(&third, "-");
    let refused = pipe(PARAMD, &borrowed(&arguments), &dump_of_zone("other", 1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(" is one (127.0.0.1:"), "{said}");
    assert!(said.contains("stop all replicas first"), "{said}");
    let data = replica.data();
    let said = fails_with(1, PARAMD, &["restore", "--data", data]);
    assert!(said.contains("are in etcd"), "{said}");
}

#[test]
fn a_dump_of_replicas_fills_a_data_directory() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a", "b", "c"]);
    let server = service.address.to_string();
    run(PARAMD, &["release", ZONE, "b", "--server", &server]);
    let before = serial(service.address);
    let dump = ["dump", ZONE, "--format", "json", "--server", &server];
    let dump = run(PARAMD, &dump);
    assert_eq!(service.terminate(), Some(0));
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let restored = pipe(PARAMD, &["restore", "-", "--data", path], &dump);
    assert!(restored.status.success(), "{restored:?}");
    let zones = crate::common::zones(&[("t.toml", &crate::common::simple_zone("", ""))]);
    let service = crate::common::Service::start(zones.path(), data.path());
    assert_eq!(id(service.address, "a"), "vp0");
    assert_eq!(id(service.address, "c"), "vp2");
    assert_eq!(id(service.address, "d"), "vp1");
    assert!(serial(service.address) > before);
}

/// What a restore leaves that is broken off.
#[test]
fn a_restore_that_is_broken_off_is_repeated() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let arguments = restore_arguments(&replica, "-");
    let restored = pipe(PARAMD, &borrowed(&arguments), &dump_of_zone(ZONE, 5));
    assert!(restored.status.success(), "{restored:?}");
    let mark = format!("/paramd/1/zones/{ZONE}./restoring");
    cluster.ctl(&["put", &mark, "{\"version\":1}"]);
    let said = replica.refused();
    assert!(said.contains("was broken off"), "{said}");
    let restored = pipe(PARAMD, &borrowed(&arguments), &dump_of_zone(ZONE, 4));
    assert!(restored.status.success(), "{restored:?}");
    let service = replica.start();
    assert_eq!(id(service.address, "host-3"), "vp3");
    assert_eq!(id(service.address, "host-4"), "vp4");
}
