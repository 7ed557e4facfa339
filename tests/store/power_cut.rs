//! Power failures: what was acknowledged before one is there afterwards.
//!
//! A service runs under strace while hosts register. From the trace, a model of a
//! file system computes what may be on disk when the power fails at any line:
//! what was not synced is there, in part, in any order, or not at all. The store
//! is opened on the result, and must have everything that was acknowledged.
//!
//! `POWER_CUT_CUTS` is the number of failures in each test; `POWER_CUT_SEED` and
//! `POWER_CUT_TRACES` repeat one that was not survived.

mod base;
mod check;
mod cut;
mod descriptors;
mod file;
mod history;
mod lab;
mod strace;
mod workload;

use std::{fmt::Write as _, fs};

use base::Base;
use cut::{Cut, Names, Syncs, disk_after};
use lab::{Lab, given, summary};
use workload::{Acknowledged, ORIGIN, traced};

/// One service that is killed, and another one that is not.
#[test]
fn a_new_store_survives() {
    let lab = Lab::new("a_new_store_survives");
    let mut history = lab.begin(Base::empty());
    lab.serve(&mut history, &[], "KILL", |service| {
        service.register(0..300, 8);
        service.ask_serial();
    });
    lab.serve(&mut history, &[], "TERM", |service| {
        service.ask_serial();
        service.register(300..500, 1);
    });
    let faults = lab.cut(&history, history.lines(), &Acknowledged::default(), |_| {});
    assert!(faults.is_empty(), "{}", summary(&faults));
}

/// The proof that the test can fail.
#[test]
fn without_syncs_it_does_not_survive() {
    let lab = Lab::new("without_syncs_it_does_not_survive");
    let mut history = lab.begin(Base::empty());
    lab.serve(&mut history, &[], "KILL", |service| {
        service.register(0..300, 8);
    });
    let faults = lab.cut(&history, history.lines(), &Acknowledged::default(), |cut| {
        cut.syncs = Syncs::DoNothing;
    });
    assert!(!faults.is_empty());
}

/// A store that carries the marks of a failure is opened, used, and fails again.
#[test]
fn a_store_that_survived_survives_again() {
    let lab = Lab::new("a_store_that_survived_survives_again");
    let mut acknowledged = Acknowledged::default();
    let mut base = Base::empty();
    let many = given("POWER_CUT_HOSTS").map_or(200, |it| it as u16);
    let mut hosts = 0;
    for round in 0..3 {
        let mut history = lab.begin(base);
        lab.serve(&mut history, &[], "KILL", |service| {
            service.ask_serial();
            service.register(0..hosts, 64);
            service.register(hosts..hosts + many, 8);
        });
        hosts += many;
        let faults = lab.cut(&history, history.lines(), &acknowledged, |_| {});
        assert!(faults.is_empty(), "round {round}: {}", summary(&faults));
        let mut random = lab.random(usize::MAX - round);
        let cut = Cut::random(&history, history.length / 2..history.length, &mut random);
        acknowledged.until(&history, cut.line);
        base = disk_after(&history, &cut, &mut random);
    }
}

/// When sled opens a database that one large commit has filled, it overwrites
/// parts of the log that its snapshot does not need.
#[test]
fn a_large_restore_survives() {
    const HOSTS: u32 = 40_000;
    let lab = Lab::new("a_large_restore_survives");
    let mut dump = format!("{{\"version\":1,\"origin\":\"{ORIGIN}\",\"serial\":7,\"peers\":[");
    let mut acknowledged = Acknowledged::default();
    for number in 0..HOSTS {
        let comma = if number == 0 { "" } else { "," };
        write!(
            dump,
            "{comma}{{\"host\":\"host-{number}\",\"sequence\":\"vp\",\"number\":{number},\
             \"role\":\"mixed\",\"source\":\"10.0.0.1\",\"address\":\"10.0.0.1\"}}"
        )
        .unwrap();
        let (host, id) = (format!("host-{number}"), format!("vp{number}"));
        acknowledged.promised.insert(host, id);
    }
    dump += "]}";
    let file = lab.file("dump.json");
    fs::write(&file, dump).unwrap();
    let mut history = lab.begin(Base::empty());
    lab.go_on(&mut history, |trace| {
        let data = lab.data();
        let data = data.to_str().unwrap();
        traced(&["restore", file.to_str().unwrap(), "--data", data], trace)
    });
    let faults = lab.cut(&history, history.lines(), &acknowledged, |_| {});
    assert!(faults.is_empty(), "{}", summary(&faults));
    // All of it is on disk, and the service has not opened it yet.
    acknowledged.until(&history, history.length);
    let mut history = lab.begin(disk_after(&history, &Cut::NONE, &mut lab.random(0)));
    lab.serve(&mut history, &[], "KILL", |service| {
        service.register(0..8, 1)
    });
    let faults = lab.cut(&history, history.silence(), &acknowledged, |cut| {
        // sled relies on what POSIX does not guarantee: that a synced file has a
        // name. This holds for ext4, XFS and Btrfs.
        cut.names = Names::Ordered;
    });
    assert!(faults.is_empty(), "{}", summary(&faults));
}

/// The disk refuses a sync, and the service continues.
#[test]
fn a_failed_sync_costs_nothing() {
    let lab = Lab::new("a_failed_sync_costs_nothing");
    let mut history = lab.begin(Base::empty());
    // For each thread; only the writer and the journal sync so often.
    let faults = ["fdatasync:error=EIO:when=20..40+20"];
    lab.serve(&mut history, &faults, "KILL", |service| {
        service.register(0..300, 4);
    });
    assert!(history.failed_syncs() >= 2);
    let faults = lab.cut(&history, history.lines(), &Acknowledged::default(), |_| {});
    assert!(faults.is_empty(), "{}", summary(&faults));
}

/// The disk refuses a sync, and the service ends. The next one finds data in
/// memory that is not on disk.
#[test]
fn a_start_after_a_failed_sync_costs_nothing() {
    let lab = Lab::new("a_start_after_a_failed_sync_costs_nothing");
    let mut history = lab.begin(Base::empty());
    lab.serve(
        &mut history,
        &["fdatasync:error=EIO:when=101+"],
        "KILL",
        |service| {
            service.register(0..90, 1);
            let is_refused = |host| !service.ask(&[host]).is_empty();
            assert!((90..110).any(is_refused));
        },
    );
    assert!(history.failed_syncs() > 0);
    let failed = history.length;
    lab.serve(&mut history, &[], "KILL", |service| {
        service.register(110..400, 4);
    });
    let lines = failed..history.lines().end;
    let faults = lab.cut(&history, lines, &Acknowledged::default(), |_| {});
    assert!(faults.is_empty(), "{}", summary(&faults));
}
