//! What must survive: SIGKILL, a full disk, a damaged store.

mod flock;
mod small_disk;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    self, Options, PARAMD, Service, eventually, fails_with, run, shipped_zones, simple_zone,
    value_in, zones,
};
use flock::Flock;
use small_disk::SmallDisk;

#[test]
fn four_hosts_get_their_own_ids_again_after_sigkill() {
    let data = tempfile::tempdir().unwrap();
    let name = |host: &str| format!("{host}.pbft.fabric.internal");
    // The summary of a host, which states its own address.
    let summary = |service: &Service, host: &str| {
        let address = format!("+subnet=10.0.1.{}/32", host.as_bytes()[0]);
        service.short(&["TXT", &name(host), &address]).concat()
    };
    let service = Service::start(&shipped_zones(), data.path());
    for (number, host) in ["a", "b", "c", "d"].iter().enumerate() {
        assert_eq!(
            value_in(&summary(&service, host), "id").unwrap(),
            format!("vp{number}")
        );
    }
    let serial = serial(&service, "pbft.fabric.internal");
    service.kill();
    let service = Service::start(&shipped_zones(), data.path());
    assert!(self::serial(&service, "pbft.fabric.internal") > serial);
    // Registered peers count as live for one lease, so the first one to query
    // gets root nodes.
    assert!(service.short(&["TXT", "pbft.fabric.internal"])[0].contains("live=4"));
    for (number, host) in ["d", "c", "b", "a"].iter().enumerate() {
        let id = format!("vp{}", 3 - number);
        assert_eq!(value_in(&summary(&service, host), "id").unwrap(), id);
        assert_ne!(value_in(&summary(&service, host), "root").unwrap(), "");
    }
    assert!(service.dig(&["TXT", &name("e")]).contains("REFUSED"));
    assert_eq!(service.terminate(), Some(0));
}

fn serial(service: &Service, zone: &str) -> u32 {
    let soa = service.short(&["SOA", zone]);
    soa[0].split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn three_thousand_hosts_register_while_the_service_is_killed_ten_times() {
    const HOSTS: u16 = 3_000;
    let zones = zones(&[("t.toml", &simple_zone("", "limit = 3000"))]);
    let data = tempfile::tempdir().unwrap();
    let mut service = Service::start(zones.path(), data.path());
    let mut options = Options::new(zones.path(), data.path());
    options.listen = vec![service.address.to_string()];
    let mut flock = Flock::new(HOSTS);
    let mut serial = serial(&service, "test.internal");
    for round in 1..=10 {
        // Killed while some hosts are registered and others are waiting.
        let enough = usize::from(HOSTS) * round / 11;
        while flock.ids.len() < enough {
            flock.ask(&service, 64, Instant::now() + Duration::from_millis(20));
        }
        service.kill();
        service = Service::start_with(&options);
        let now = self::serial(&service, "test.internal");
        assert!(now > serial, "the serial never falls");
        serial = now;
    }
    flock.ask(&service, 64, Instant::now() + Duration::from_secs(60));
    let expected: BTreeSet<String> = (0..HOSTS).map(|number| format!("vp{number}")).collect();
    let ids: BTreeSet<String> = flock.ids.values().cloned().collect();
    assert_eq!(flock.ids.len(), usize::from(HOSTS), "all are answered");
    assert_eq!(ids, expected, "distinct, and from vp0 to vp2999");
    // What was acknowledged is stored.
    service.kill();
    let service = Service::start_with(&options);
    let mut again = Flock::new(HOSTS);
    again.ask(&service, 64, Instant::now() + Duration::from_secs(60));
    assert_eq!(again.ids, flock.ids);
    // Dumps and journal restore the same.
    service.kill();
    lose_store(data.path());
    let service = Service::start_with(&options);
    let mut again = Flock::new(HOSTS);
    again.ask(&service, 64, Instant::now() + Duration::from_secs(60));
    assert_eq!(again.ids, flock.ids);
}

/// Deletes sled's files, and restores everything with `paramd restore`.
fn lose_store(data: &Path) {
    fs::remove_dir_all(data.join("peers.sled")).unwrap();
    let said = run(PARAMD, &["restore", "--data", data.to_str().unwrap()]);
    assert!(said.contains(": complete"), "{said}");
}

#[test]
fn a_full_disk_refuses_new_hosts_answers_known_ones_and_recovers() {
    let zones = zones(&[("t.toml", &simple_zone("lease = \"1s\"", ""))]);
    let disk = SmallDisk::new("6m");
    let data = disk.path().join("data");
    let service = Service::start(zones.path(), &data);
    let mut known = Vec::new();
    for host in 0..5 {
        let name = format!("known-{host}.test.internal");
        known.push((service.value(&name, "id").unwrap(), name));
    }
    disk.fill();
    // The store's files may have room for a few more registrations.
    let mut refused = None;
    for host in 0..20_000 {
        let name = format!("new-{host}.test.internal");
        let answer = service.dig(&["TXT", &name]);
        if answer.contains("status: SERVFAIL") {
            assert!(
                answer.contains("EDE: 0 (Other): (the service cannot write"),
                "{answer}"
            );
            refused = Some(name);
            break;
        }
        let id = common::value_in(&answer, "id").unwrap();
        known.push((id, name));
    }
    let refused = refused.expect("a full disk is noticed");
    for (id, name) in known.iter().rev().take(50) {
        assert_eq!(service.value(name, "id").as_ref(), Some(id), "{name}");
    }
    // This includes hosts whose lease has expired.
    thread::sleep(Duration::from_millis(1_200));
    for (id, name) in known.iter().take(5) {
        assert_eq!(service.value(name, "id").as_ref(), Some(id), "{name}");
    }
    let log = service.log();
    // As the system says it, or the standard library.
    let is_told = [
        "data/journal: No space left on device",
        "data/peers.sled: no storage space",
    ];
    assert!(is_told.iter().any(|told| log.contains(told)), "{log}");
    let health = ["health", "--data", data.to_str().unwrap()];
    common::run(common::PARAMD, &health);
    let ready = [&health[..], &["--ready"]].concat();
    let said = common::fails_with(1, common::PARAMD, &ready);
    assert!(said.contains("cannot write to its store"), "{said}");
    disk.make_room();
    // Without anybody who registers.
    eventually(Duration::from_secs(10), "it is ready again", || {
        common::attempt(common::PARAMD, &ready).status.success()
    });
    let mut id = None;
    eventually(
        Duration::from_secs(10),
        "it recovers without a restart",
        || {
            id = service.value(&refused, "id");
            id.is_some()
        },
    );
    known.push((id.unwrap(), refused));
    let distinct: BTreeSet<&String> = known.iter().map(|(id, _)| id).collect();
    assert_eq!(distinct.len(), known.len());
    // Acknowledged registrations have survived, and refused ones are neither in
    // the store nor in the journal.
    service.kill();
    for is_lost in [false, true] {
        if is_lost {
            lose_store(&data);
        }
        let service = Service::start(zones.path(), &data);
        for (id, name) in &known {
            assert_eq!(service.value(name, "id").as_ref(), Some(id), "{name}");
        }
        let apex = service.short(&["TXT", "test.internal"]);
        assert!(
            apex[0].contains(&format!("peers={}", known.len())),
            "{apex:?}"
        );
        service.kill();
    }
}

/// The log may be damaged anywhere, including places where sled would continue
/// with what precedes the damage.
#[test]
fn a_store_that_is_damaged_anywhere_is_rebuilt_and_a_dump_fills_an_empty_one() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    let hosts = ["a", "b", "c"].map(|host| format!("{host}.pbft.fabric.internal"));
    let ids = |service: &Service| hosts.clone().map(|name| service.value(&name, "id"));
    let before = ids(&service);
    let path = data.path().to_str().unwrap();
    assert_eq!(service.terminate(), Some(0));
    let store = data.path().join("peers.sled");
    for place in 0..3 {
        let log = store.join("db");
        let mut octets = fs::read(&log).unwrap();
        // The rest is zeros.
        let used = octets.iter().rposition(|octet| *octet != 0).unwrap();
        let damage = [0, used / 2, used - 20][place];
        octets[damage..].fill(0);
        fs::write(&log, octets).unwrap();
        let service = Service::start(&shipped_zones(), data.path());
        assert!(service.log().contains("was rebuilt"), "from octet {damage}");
        assert_eq!(ids(&service), before, "from octet {damage}");
        assert_eq!(service.terminate(), Some(0));
    }
    // The service took a dump when it stopped.
    let dumps = data.path().join("dumps/pbft.fabric.internal");
    let dumps = fs::read_dir(dumps).unwrap();
    let newest = dumps.map(|entry| entry.unwrap().path()).max().unwrap();
    let file = newest.to_str().unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    let restored = run(PARAMD, &["restore", file, "--data", other]);
    assert!(restored.contains("restored 3 registrations"), "{restored}");
    let said = fails_with(1, PARAMD, &["restore", file, "--data", other]);
    assert!(
        said.contains("3 registrations"),
        "only an empty store is filled: {said}"
    );
    let said = fails_with(1, PARAMD, &["restore", file, "--data", path]);
    assert!(said.contains("3 registrations"), "{said}");
    let service = Service::start(&shipped_zones(), std::path::Path::new(other));
    assert_eq!(ids(&service), before);
}

/// sled reports an incomplete snapshot as damage; a process that is killed at the
/// wrong moment, or a full disk, leaves one.
#[test]
fn an_unfinished_snapshot_is_no_damage() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    service.value("a.pbft.fabric.internal", "id").unwrap();
    service.kill();
    let unfinished = data
        .path()
        .join("peers.sled/snap.00FFFFFFFFFFFFFF.generating");
    fs::write(&unfinished, b"").unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    assert_eq!(
        service.value("a.pbft.fabric.internal", "id").unwrap(),
        "vp0"
    );
    assert!(!unfinished.exists());
}

/// A database that is damaged while an error keeps it closed is not reopened as
/// if nothing were missing.
#[test]
fn a_store_that_is_damaged_between_two_commits_takes_no_more() {
    use param_daemon::store::{Registration, SledStore, Store, Write};

    let disk = SmallDisk::new("16m");
    let data = disk.path().join("data");
    let mut store = common::unlocked(|| SledStore::open(&data)).unwrap();
    let write = |number: u32| {
        [Write::Put {
            origin: "test.internal.".into(),
            registration: Registration {
                host: format!("host-{number}"),
                sequence: "vp".into(),
                number,
                role: "mixed".into(),
                source: [10, 0, 0, 1].into(),
                address: [10, 0, 0, 1].into(),
                epoch: 1,
            },
        }]
    };
    let mut number = 0;
    while number < 200 {
        store.commit(&write(number)).unwrap();
        number += 1;
    }
    disk.fill();
    while store.commit(&write(number)).is_ok() {
        number += 1;
    }
    let log = data.join("peers.sled/db");
    let mut octets = fs::read(&log).unwrap();
    let kept = octets.len() * 6 / 10;
    disk.make_room();
    octets[kept..].fill(0);
    fs::write(&log, octets).unwrap();
    thread::sleep(Duration::from_millis(1_100));
    let error = store.commit(&write(number)).unwrap_err();
    assert!(error.to_string().contains("are missing"), "{error}");
}

#[test]
fn every_origin_in_a_store_is_found_and_once() {
    use param_daemon::store::{Pin, Registration, SledStore, Store, Write};

    let data = tempfile::tempdir().unwrap();
    let mut store = common::unlocked(|| SledStore::open(data.path())).unwrap();
    let mut writes = Vec::new();
    // One name is a prefix of another.
    for origin in ["b.internal.", "a.", "a.b.", "b."] {
        writes.extend((0..200).map(|number| Write::Put {
            origin: origin.into(),
            registration: Registration {
                host: format!("host-{number}"),
                sequence: "vp".into(),
                number,
                role: "mixed".into(),
                source: [10, 0, 0, 1].into(),
                address: [10, 0, 0, 1].into(),
                epoch: 1,
            },
        }));
    }
    writes.extend(["a.", "z."].map(|origin| Write::Pin {
        origin: origin.into(),
        pin: Pin {
            host: "host-0".into(),
            sequence: "vp".into(),
            number: 0,
        },
    }));
    store.commit(&writes).unwrap();
    let mut origins = store.origins().unwrap();
    origins.sort();
    assert_eq!(origins, ["a.", "a.b.", "b.", "b.internal.", "z."]);
}

/// sled's own flush does not wait for the disk.
#[test]
fn an_answer_waits_for_the_disk_itself() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    // A directory on a disk-based file system.
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let data = tempfile::tempdir_in(target).unwrap();
    let service = Service::start(zones.path(), data.path());
    let seen = data.path().join("calls");
    let process = service.child.id().to_string();
    let mut strace = std::process::Command::new("strace")
        .args([
            "-f",
            "-q",
            "-y",
            "-e",
            "trace=fdatasync,fsync,sendmsg,sendmmsg",
            "-o",
        ])
        .arg(&seen)
        .args(["-p", &process])
        .spawn()
        .unwrap();
    // strace does not report when it is ready.
    let calls = || std::fs::read_to_string(&seen).unwrap_or_default();
    common::eventually(std::time::Duration::from_secs(10), "strace sees", || {
        service.short(&["SOA", "test.internal"]);
        calls().contains("send")
    });
    let syncs = || calls().matches("fdatasync(").count();
    for host in 0..5 {
        let before = syncs();
        assert!(
            service
                .value(&format!("h{host}.test.internal"), "id")
                .is_some()
        );
        let calls = calls();
        // Either call may end first.
        let made = calls.lines().filter(|line| line.contains("fdatasync("));
        let made: Vec<&str> = made.skip(before).collect();
        for file in [".journal>", "peers.sled/db>"] {
            assert!(made.iter().any(|line| line.contains(file)), "{calls}");
        }
    }
    // A heartbeat writes nothing.
    let before = syncs();
    service.value("h0.test.internal", "id").unwrap();
    assert_eq!(syncs(), before);
    common::signal(strace.id(), "INT");
    strace.wait().unwrap();
}
