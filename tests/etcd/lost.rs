//! What was lost in etcd, and what a data directory still has of it.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    cluster::Cluster,
    common::{
        Options, PARAMD, Service, attempt, dump_of_zone, eventually, fails_with, pipe, run,
        simple_zone, zones,
    },
    replica::{Replica, ZONE, assert_ids, dig, id, serial},
};

/// The zone files of a replica.
fn zones_of(replica: &Replica) -> PathBuf {
    replica.config().parent().unwrap().to_owned()
}

/// Starts it without what etcd has lost.
fn start_anew(replica: &Replica) -> Result<Service, String> {
    let zones = zones_of(replica);
    let mut options = Options::new(&zones, replica.data.path());
    options.more = replica.options();
    options.more.push("--new".into());
    Service::try_start(&options)
}

fn newest_dump(replica: &Replica) -> String {
    let folder = replica.data.path().join("dumps").join(ZONE);
    let paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    paths.max().unwrap().to_str().unwrap().to_owned()
}

fn restore(replica: &Replica, file: &str) -> String {
    let options = replica.options();
    let mut arguments = vec!["restore", file, "--data", replica.data()];
    arguments.extend(options.iter().map(String::as_str));
    run(PARAMD, &arguments)
}

/// What `paramd check` prints for the data directory, and whether it succeeds.
fn check(replica: &Replica, more: &[&str]) -> (String, bool) {
    let zones = zones_of(replica);
    let mut arguments = vec!["check", "--zones", zones.to_str().unwrap()];
    arguments.extend(["--data", replica.data()]);
    arguments.extend(more);
    let output = attempt(PARAMD, &arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    (said, output.status.success())
}

/// A replica whose etcd has lost the zone with the hosts `a` and `b`, and its serial
/// before.
fn with_lost_zone(cluster: &Cluster) -> (Replica, u32) {
    let replica = Replica::new(cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a", "b"]);
    let before = serial(service.address);
    assert_eq!(service.terminate(), Some(0));
    cluster.ctl(&["del", "--prefix", "/paramd/1/zones/"]);
    (replica, before)
}

#[test]
fn a_zone_that_etcd_has_lost_is_restored_and_not_begun_anew() {
    let cluster = Cluster::start(1);
    let (replica, before) = with_lost_zone(&cluster);
    let dump = newest_dump(&replica);
    for _ in 0..2 {
        let said = replica.refused();
        assert!(said.contains(" has nothing of test.internal."), "{said}");
        assert!(said.contains(&format!("{dump} has 2 peers")), "{said}");
        assert!(said.contains("--new"), "{said}");
        assert!(cluster.stored().is_empty(), "{}", cluster.stored());
    }
    let options = replica.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let (said, succeeded) = check(&replica, &options);
    assert!(said.contains("nothing of test.internal."), "{said}");
    assert!(!succeeded, "{said}");
    // Each restore of the dump gives serials that no earlier one has given.
    let mut last = before;
    for _ in 0..2 {
        cluster.ctl(&["del", "--prefix", "/paramd/1/"]);
        restore(&replica, &dump);
        let service = replica.start();
        assert_ids(service.address, &["a", "b", "c"]);
        run(PARAMD, &["release", ZONE, "c", "--data", replica.data()]);
        let now = serial(service.address);
        assert!(now > last, "{now} after {last}");
        last = now;
        assert_eq!(service.terminate(), Some(0));
    }
}

#[test]
fn a_zone_that_etcd_has_lost_is_begun_anew_on_request() {
    let cluster = Cluster::start(1);
    let (replica, before) = with_lost_zone(&cluster);
    let service = start_anew(&replica).unwrap_or_else(|log| panic!("no start: {log}"));
    assert_ids(service.address, &["c", "d"]);
    assert!(serial(service.address) > before);
    let aside = replica.data.path().join("dumps.before-1").join(ZONE);
    assert!(aside.is_dir(), "{}", service.log());
    assert_eq!(service.terminate(), Some(0));
    let service = replica.start();
    assert_ids(service.address, &["c", "d"]);
}

/// Others register before a replica with dumps comes back.
#[test]
fn a_zone_that_goes_to_others_is_refused_by_a_replica_with_dumps() {
    let cluster = Cluster::start(1);
    let (replica, _) = with_lost_zone(&cluster);
    let other = Replica::new(&cluster, "two", 3);
    let service = other.start();
    assert_ids(service.address, &["x"]);
    let said = replica.refused();
    assert!(said.contains("an older state of test.internal."), "{said}");
    assert!(
        said.contains("etcdctl del --prefix /paramd/1/zones/test.internal./`"),
        "{said}"
    );
    let said = start_anew(&replica).map(drop).unwrap_err();
    assert!(said.contains("stop all replicas first"), "{said}");
}

#[test]
fn a_replica_that_ends_since_etcd_was_restored_leaves_a_dump() {
    let mut cluster = Cluster::start(1);
    let replica = Replica::with(
        &cluster,
        "one",
        "lease = \"60s\"\nhold = \"2s\"\nprefix = \"/shared/params\"\n",
    );
    let mut service = replica.start();
    assert_ids(service.address, &["a"]);
    let snapshot = cluster.path("snapshot.db");
    cluster.ctl(&["snapshot", "save", snapshot.to_str().unwrap()]);
    assert_ids(service.address, &["a", "b"]);
    cluster.restore(&snapshot, "paramd");
    eventually(Duration::from_secs(30), "the service ends", || {
        service.child.try_wait().unwrap().is_some()
    });
    let dump = newest_dump(&replica);
    let text = fs::read_to_string(&dump).unwrap();
    assert!(text.contains("\"host\":\"b\""), "{text}");
    let log = service.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains(&dump), "{last}");
    assert!(last.contains("highest number of all replicas"), "{last}");
    assert!(
        last.contains("etcdctl del --prefix /shared/params/1/`"),
        "{last}"
    );
    assert!(
        last.contains("each of the others a new data directory"),
        "{last}"
    );
    cluster.ctl(&["del", "--prefix", "/shared/params/1/"]);
    restore(&replica, &dump);
    let service = replica.start();
    assert_ids(service.address, &["a", "b", "c"]);
}

#[test]
fn every_replica_of_an_etcd_that_was_emptied_leaves_a_dump() {
    let cluster = Cluster::start(1);
    let replicas = ["one", "two"].map(|name| Replica::new(&cluster, name, 60));
    let mut services = replicas.each_ref().map(Replica::start);
    for service in &services {
        assert_ids(service.address, &["a", "b"]);
    }
    cluster.ctl(&["del", "--prefix", "/paramd/1/"]);
    for (replica, service) in replicas.iter().zip(&mut services) {
        eventually(Duration::from_secs(30), "the service ends", || {
            service.child.try_wait().unwrap().is_some()
        });
        let dump = newest_dump(replica);
        let text = fs::read_to_string(&dump).unwrap();
        assert!(text.contains("\"host\":\"b\""), "{text}");
        assert!(service.log().contains(&dump), "{}", service.log());
    }
}

#[test]
fn registrations_in_etcd_are_checked_there() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a", "b"]);
    let options = replica.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let fit = format!("{}: 2 registrations of test.internal fit", cluster.store());
    let (said, succeeded) = check(&replica, &options);
    assert!(said.contains(&fit) && succeeded, "{said}");
    let (said, succeeded) = check(&replica, &[]);
    assert!(said.contains("are in etcd"), "{said}");
    assert!(said.contains("--store etcd://"), "{said}");
    assert!(!said.contains(" fit") && !succeeded, "{said}");
    assert_eq!(service.terminate(), Some(0));
    let (said, _) = check(&replica, &options);
    assert!(said.contains(&fit), "{said}");
    assert!(said.contains(&newest_dump(&replica)), "{said}");
    // One of them does not fit any more.
    let limited = zones(&[("t.toml", &simple_zone("", "limit = 1"))]);
    let mut arguments = vec!["check", "--zones", limited.path().to_str().unwrap()];
    arguments.extend(&options);
    let said = fails_with(1, PARAMD, &arguments);
    assert!(said.contains("b holds vp1"), "{said}");
}

#[test]
fn a_restore_counts_pins() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let pins = "],\"pins\":[{\"host\":\"b\",\"sequence\":\"vp\",\"number\":7}]}";
    let dump = dump_of_zone(ZONE, 1).replace("]}", pins);
    let file = cluster.path("dump.json");
    fs::write(&file, dump).unwrap();
    let said = restore(&replica, file.to_str().unwrap());
    assert!(
        said.contains("restored 1 registration and 1 pin of test.internal."),
        "{said}"
    );
    assert_eq!(id(replica.start().address, "b"), "vp7");
}

#[test]
fn what_does_not_fit_a_follower_is_logged_once() {
    let cluster = Cluster::start(1);
    let writer = Replica::new(&cluster, "one", 3);
    let service = writer.start();
    assert_ids(service.address, &["a"]);
    let follower = Replica::new(&cluster, "two", 3);
    let text = simple_zone("", "limit = 2");
    fs::write(zones_of(&follower).join("t.toml"), text).unwrap();
    let following = follower.start();
    let all = ["a", "b", "c", "d", "e"];
    assert_ids(service.address, &all);
    let soa = || dig(following.address, &["+short", "SOA", ZONE]);
    let after = |number: u32| soa().contains(&format!(" {number} "));
    let last = serial(service.address);
    eventually(Duration::from_secs(5), "it follows", || after(last));
    let log = following.log();
    let warned = log.lines().filter(|line| line.contains("c holds vp2"));
    assert_eq!(warned.count(), 1, "{log}");
}

#[test]
fn a_start_with_a_full_etcd_says_what_is_missing() {
    let quota = ["--quota-backend-bytes", "1000000"];
    let cluster = Cluster::start_with(1, &quota, &[], "http");
    let value = "x".repeat(100_000);
    for _ in 0..30 {
        if !cluster.try_ctl(&["put", "/other", &value]).status.success() {
            break;
        }
    }
    let said = Replica::new(&cluster, "one", 3).refused();
    assert!(said.contains("etcd has reached its quota"), "{said}");
    assert!(!said.contains("check --store"), "{said}");
}

#[test]
fn the_dump_of_a_clean_stop_is_the_way_back() {
    let cluster = Cluster::start(1);
    let replica = Replica::new(&cluster, "one", 3);
    let service = replica.start();
    assert_ids(service.address, &["a", "b"]);
    let before = serial(service.address);
    assert_eq!(service.terminate(), Some(0));
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    run(PARAMD, &["restore", &newest_dump(&replica), "--data", path]);
    let service = Service::start(&zones_of(&replica), data.path());
    assert_ids(service.address, &["a", "b", "c"]);
    assert!(serial(service.address) > before);
}

#[test]
fn the_advice_for_a_move_stops_the_service_first() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    fs::create_dir(data.path().join("peers.sled")).unwrap();
    let arguments = ["restore", "-", "--store", "etcd://127.0.0.1:1", "--data"];
    let refused = pipe(PARAMD, &[&arguments[..], &[path]].concat(), "");
    let said = String::from_utf8(refused.stderr).unwrap();
    let place = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    let dump = format!("paramd dump ZONE --data {path} --format json");
    assert!(place("stop the service") < place(&dump), "{said}");
}
