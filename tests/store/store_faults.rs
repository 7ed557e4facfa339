//! Faults of a disk, power failures and interference with the files of a store
//! cost no registration.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::common::{self, Service, eventually, run, signal, simple_zone, zones};
use param_daemon::store::{Registration, SledStore, Store, StoreError, Write};

const ORIGIN: &str = "test.internal.";

fn put(number: u32) -> Write {
    Write::Put {
        origin: ORIGIN.into(),
        registration: Registration {
            host: format!("host-{number}"),
            sequence: "vp".into(),
            number,
            role: "mixed".into(),
            source: [10, 0, 0, 1].into(),
            address: [10, 0, 0, 1].into(),
            epoch: 1,
        },
    }
}

fn open(data: &Path) -> SledStore {
    common::unlocked(|| SledStore::open(data)).unwrap()
}

fn registered(store: &mut SledStore) -> usize {
    store.load(ORIGIN).unwrap().registrations.len()
}

/// sled never syncs its file `conf`, without which it does not open.
#[test]
fn a_conf_that_a_power_cut_took_is_written_anew() {
    let data = tempfile::tempdir().unwrap();
    let conf = data.path().join("peers.sled/conf");
    let mut store = open(data.path());
    store.commit(&[put(0)]).unwrap();
    drop(store);
    let whole = fs::read(&conf).unwrap();
    let garbage = vec![0xa5; whole.len()];
    for left in [&[][..], &whole[..9], &whole[..40], &garbage] {
        fs::write(&conf, left).unwrap();
        let mut store = open(data.path());
        assert_eq!(registered(&mut store), 1);
        assert_eq!(fs::read(&conf).unwrap(), whole);
    }
    fs::remove_file(&conf).unwrap();
    assert_eq!(registered(&mut open(data.path())), 1);
}

/// sled overwrites what its new snapshot does not need before the name of the
/// snapshot is on disk.
#[test]
fn a_whole_snapshot_is_used_whatever_its_name_is() {
    const HOSTS: usize = 40_000;
    let data = tempfile::tempdir().unwrap();
    let writes: Vec<Write> = (0..HOSTS as u32).map(put).collect();
    let mut store = open(data.path());
    store.commit(&writes).unwrap();
    drop(store);
    let log = data.path().join("peers.sled/db");
    let before = fs::read(&log).unwrap();
    drop(open(data.path()));
    let after = fs::read(&log).unwrap();
    let both = before.len().min(after.len());
    assert_ne!(
        before[..both],
        after[..both],
        "sled overwrites nothing any more"
    );
    let snapshot = snapshot_in(&data.path().join("peers.sled"));
    let unfinished = snapshot.with_extension(format!(
        "{}.generating",
        snapshot.extension().unwrap().to_str().unwrap()
    ));
    fs::rename(&snapshot, &unfinished).unwrap();
    let mut store = open(data.path());
    assert_eq!(registered(&mut store), HOSTS);
    assert!(!unfinished.exists());
}

fn snapshot_in(database: &Path) -> PathBuf {
    let entries = fs::read_dir(database).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths
        .find(|path| path.file_stem().is_some_and(|stem| stem == "snap"))
        .unwrap()
}

/// A store whose files have no name any more would be lost with the next restart.
#[test]
fn a_store_that_was_deleted_or_replaced_takes_no_more() {
    let above = tempfile::tempdir().unwrap();
    let data = above.path().join("data");
    let elsewhere = above.path().join("elsewhere");
    let database = data.join("peers.sled");
    let mut store = open(&data);
    store.commit(&[put(0)]).unwrap();
    let mut number = 1;
    let mut refuses = |store: &mut SledStore| {
        let error = store.commit(&[put(number)]).unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
        assert!(error.to_string().contains("deleted or replaced"), "{error}");
        number += 1;
    };
    // Elsewhere, and back.
    fs::rename(&data, &elsewhere).unwrap();
    refuses(&mut store);
    fs::rename(&elsewhere, &data).unwrap();
    store.commit(&[put(100)]).unwrap();
    // Another one in its place.
    fs::rename(&database, &elsewhere).unwrap();
    run(
        "cp",
        &[
            "-r",
            elsewhere.to_str().unwrap(),
            database.to_str().unwrap(),
        ],
    );
    refuses(&mut store);
    fs::remove_dir_all(&database).unwrap();
    fs::rename(&elsewhere, &database).unwrap();
    store.commit(&[put(101)]).unwrap();
    // Deleted.
    fs::remove_dir_all(&data).unwrap();
    refuses(&mut store);
    assert!(!data.exists());
}

#[test]
fn a_service_whose_data_directory_is_deleted_answers_known_hosts_alone() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let above = tempfile::tempdir().unwrap();
    let data = above.path().join("data");
    let service = Service::start(zones.path(), &data);
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    fs::remove_dir_all(&data).unwrap();
    let answer = service.dig(&["TXT", "b.test.internal"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    assert!(answer.contains("the service cannot write"), "{answer}");
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    assert!(
        service.log().contains("deleted or replaced"),
        "{}",
        service.log()
    );
}

/// The calls into which errors can be injected.
const FAULTY: &str = "trace=fsync,fdatasync,sync_file_range";

/// Injects errors into a service's system calls until it is dropped.
struct Faults(Child);

impl Faults {
    fn in_(service: &Service, faults: &[&str]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", FAULTY]);
        for fault in faults {
            command.args(["-e", &format!("inject={fault}")]);
        }
        let process = service.child.id().to_string();
        let mut child = command
            .args(["-p", &process])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("strace cannot be run ({error}): see scripts/test"));
        // It reports when it has attached.
        let mut said = [0];
        child
            .stderr
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        Self(child)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        signal(self.0.id(), "INT");
        self.0.wait().unwrap();
    }
}

/// After a failed sync the kernel considers lost pages as written: nothing may
/// depend on them.
#[test]
fn after_a_failed_sync_the_service_goes_on_with_other_files() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let log = data.path().join("peers.sled/db");
    let before = fs::metadata(&log).unwrap();
    // Kept open, so that its inode number is not reused.
    let _before = fs::File::open(&log).unwrap();
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    let faults = Faults::in_(&service, &["fsync:error=EIO", "fdatasync:error=EIO"]);
    for _ in 0..3 {
        let answer = service.dig(&["TXT", "b.test.internal"]);
        assert!(answer.contains("status: SERVFAIL"), "{answer}");
        assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    }
    drop(faults);
    let mut id = None;
    eventually(Duration::from_secs(20), "it goes on", || {
        id = service.value("b.test.internal", "id");
        id.is_some()
    });
    assert_ne!(fs::metadata(&log).unwrap().ino(), before.ino());
    let names: Vec<_> = fs::read_dir(data.path()).unwrap().collect();
    let left = names.iter().flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("peers.sled.")
    });
    assert_eq!(left.count(), 0, "{names:?}");
    service.kill();
    let service = Service::start(zones.path(), data.path());
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    assert_eq!(service.value("b.test.internal", "id"), id);
}

/// The process that was told of the error has ended: the next one detects it as
/// well.
#[test]
fn a_start_after_a_failed_sync_goes_on_with_other_files() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let log = data.path().join("peers.sled/db");
    let before = fs::File::open(&log).unwrap().metadata().unwrap();
    let _before = fs::File::open(&log).unwrap();
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    let faults = Faults::in_(&service, &["fdatasync:error=EIO"]);
    let answer = service.dig(&["TXT", "b.test.internal"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    service.kill();
    drop(faults);
    let service = Service::start(zones.path(), data.path());
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    assert_ne!(fs::metadata(&log).unwrap().ino(), before.ino());
    let after = fs::metadata(&log).unwrap();
    service.kill();
    let service = Service::start(zones.path(), data.path());
    assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
    assert_eq!(fs::metadata(&log).unwrap().ino(), after.ino(), "once");
}

/// sled records that a page was not written, and lets the commit wait forever.
#[test]
fn a_commit_whose_page_is_not_written_ends() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    for round in 1..4 {
        // Once in each of sled's threads, and late: the commit's other page has
        // been written by then.
        let fault = format!("sync_file_range:error=EIO:delay_enter=20000:when={round}");
        let faults = Faults::in_(&service, &[&fault]);
        for host in 0..10 {
            let name = format!("h{round}-{host}.test.internal");
            eventually(Duration::from_secs(30), "the host is registered", || {
                service.value(&name, "id").is_some()
            });
        }
        drop(faults);
    }
}
