//! The moments at which a crash leaves store and journal with different commits,
//! replayed on copies of their files: acknowledged commits are there, others are
//! there as a whole or not at all, and dumps and journal restore the same.

pub mod model;

use crate::common;
use std::{collections::BTreeSet, fs, path::Path};

use model::{Model, ORIGINS, registration, serial, write};
use param_daemon::store::{
    LocalStore, SledStore, Store as _, StoreError, Write, journal,
    local::{self, OpenMode, RestoreError},
};
use proptest::prelude::*;

fn open(data: &Path) -> LocalStore {
    try_open(data, OpenMode::Serve).unwrap()
}

fn try_open(data: &Path, opening: OpenMode) -> Result<LocalStore, StoreError> {
    common::unlocked(|| LocalStore::open(data, opening))
}

/// Dumps what has changed, as the service does.
fn dump(store: &mut LocalStore) {
    for origin in ORIGINS {
        let contents = store.load(origin).unwrap();
        let dumps = store.dumps().clone();
        let newest = dumps.newest_sound(origin).sound;
        if contents.changed > newest.map_or(0, |newest| newest.generation.commit) {
            dumps.write(origin, contents).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).unwrap();
    }
    common::run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

fn lose_store(data: &Path) {
    fs::remove_dir_all(data.join("peers.sled")).unwrap();
}

/// How far the last commit has come when the power fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Window {
    Journal,
    Store,
    Both,
    /// The journal has a part of the line.
    Torn,
    /// The same, with all of the store.
    TornAndStore,
}

const WINDOWS: [Window; 5] = [
    Window::Journal,
    Window::Store,
    Window::Both,
    Window::Torn,
    Window::TornAndStore,
];

/// How many histories are replayed: `WINDOWS`, or a few.
fn cases() -> u32 {
    std::env::var("WINDOWS").map_or(40, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_crash_in_any_window_loses_nothing(
        commits in prop::collection::vec(prop::collection::vec(write(), 1..6), 1..6),
        last in prop::collection::vec(write(), 1..6),
        next in prop::collection::vec(write(), 1..6),
        window in prop::sample::select(&WINDOWS[..]),
        dumped in any::<prop::sample::Index>(),
        torn in any::<prop::sample::Index>(),
    ) {
        let before = tempfile::tempdir().unwrap();
        let after = tempfile::tempdir().unwrap();
        let (before, after) = (before.path(), after.path().join("data"));
        let mut store = open(before);
        let mut model = Model::default();
        // A service reserves serials before it assigns anything.
        let reserved = ORIGINS.map(|origin| serial(origin, 1));
        store.commit(&reserved).unwrap();
        model.apply(&reserved);
        let dumped = dumped.index(commits.len() + 1);
        for (place, writes) in commits.iter().enumerate() {
            if place == dumped {
                dump(&mut store);
            }
            store.commit(writes).unwrap();
            store.commit(&[serial(ORIGINS[0], place as u64 + 2)]).unwrap();
            model.apply(writes);
            model.serial = place as u64 + 2;
        }
        drop(store);
        copy(before, &after);
        let mut store = open(&after);
        store.commit(&last).unwrap();
        drop(store);
        // The state after the crash: the witness has not been updated.
        let crashed = tempfile::tempdir().unwrap();
        let crashed = crashed.path().join("data");
        copy(before, &crashed);
        if window != Window::Journal && window != Window::Torn {
            copy(&after.join("peers.sled"), &crashed.join("peers.sled"));
        }
        if window != Window::Store {
            copy(&after.join("journal"), &crashed.join("journal"));
        }
        if matches!(window, Window::Torn | Window::TornAndStore) {
            let path = journal::segments(&crashed.join("journal")).unwrap().pop().unwrap();
            let octets = fs::read(&path).unwrap();
            let end = octets.iter().rposition(|octet| *octet != 0).unwrap();
            let line = octets[..end].iter().rposition(|octet| *octet == b'\n').unwrap();
            fs::write(&path, &octets[..line + 1 + torn.index(end - line)]).unwrap();
        }
        if window != Window::Torn {
            model.apply(&last);
        }
        let mut store = open(&crashed);
        prop_assert_eq!(Model::of_store(&mut store), model.clone());
        // What the service does at its start.
        dump(&mut store);
        store.commit(&next).unwrap();
        model.apply(&next);
        prop_assert_eq!(Model::of_store(&mut store), model.clone());
        drop(store);
        prop_assert!(!crashed.join("peers.sled.damaged-1").exists());

        // All of that is restored, repeatedly.
        for _ in 0..2 {
            let named = model.registrations.len() + model.pins.len() > 0;
            lose_store(&crashed);
            match local::restore(&crashed) {
                Ok(report) => {
                    let missing: Vec<_> = report.zones.iter().map(|it| &it.missing).collect();
                    prop_assert!(missing.iter().all(|it| it.is_empty()), "{:?}", missing);
                }
                Err(error) => prop_assert!(!named, "{error}"),
            }
            let mut store = open(&crashed);
            prop_assert_eq!(Model::of_store(&mut store), model.clone());
        }
    }
}

/// A directory of an earlier release has neither journal nor identity, and its
/// witness and its dumps are elsewhere.
#[test]
fn a_directory_of_an_earlier_release_is_taken_over() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let put = |number: u32| Write::Put {
        origin: ORIGINS[0].into(),
        registration: registration(number, [10, 0, 0, 1].into()),
    };
    let mut store = common::unlocked(|| SledStore::open(data)).unwrap();
    store.commit(&[put(0), serial(ORIGINS[0], 70_000)]).unwrap();
    store.commit(&[put(1)]).unwrap();
    drop(store);
    let witness = data.join("peers.sled/commits");
    fs::create_dir(data.join("dumps")).unwrap();
    let dump = r#"{"version":1,"origin":"a.internal.","serial":1,"peers":[]}"#;
    fs::write(data.join("dumps/a.internal.json"), dump).unwrap();
    // Its witness is trusted.
    fs::write(&witness, 3u64.to_be_bytes()).unwrap();
    let error = try_open(data, OpenMode::Serve).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    fs::write(&witness, 2u64.to_be_bytes()).unwrap();
    let mut store = open(data);
    let contents = store.load(ORIGINS[0]).unwrap();
    assert_eq!(contents.registrations.len(), 2);
    self::dump(&mut store);
    store.commit(&[put(2)]).unwrap();
    let model = Model::of_store(&mut store);
    drop(store);
    lose_store(data);
    let report = local::restore(data).unwrap();
    assert!(report.zones.iter().all(|zone| zone.is_whole()));
    assert_eq!(Model::of_store(&mut open(data)), model);
}

/// A rebuild that is interrupted anywhere is repeated, or is complete.
#[test]
fn a_rebuild_that_is_broken_off_does_no_harm() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut store = open(data);
    let put = Write::Put {
        origin: ORIGINS[0].into(),
        registration: registration(0, [10, 0, 0, 1].into()),
    };
    store.commit(&[put]).unwrap();
    let model = Model::of_store(&mut store);
    drop(store);
    let sled = data.join("peers.sled");
    let damage = |folder: &Path| fs::write(folder.join("db"), [0x5a; 4096]).unwrap();
    // Before the new database is complete.
    copy(&sled, &data.join("peers.rebuilding"));
    damage(&data.join("peers.rebuilding"));
    assert_eq!(Model::of_store(&mut open(data)), model);
    // Before and after the old database is set aside.
    for set_aside in [false, true] {
        copy(&sled, &data.join("peers.rebuilt"));
        damage(&sled);
        if set_aside {
            fs::rename(&sled, data.join("peers.sled.damaged-9")).unwrap();
        }
        assert_eq!(Model::of_store(&mut open(data)), model);
    }
    let left = fs::read_dir(data).unwrap();
    let left: BTreeSet<String> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("peers.sled"))
        .collect();
    assert_eq!(
        left.iter().collect::<Vec<_>>(),
        ["peers.sled", "peers.sled.damaged-1", "peers.sled.damaged-9"]
    );
}

/// A disk that damages the store again and again is not filled with copies.
#[test]
fn a_store_is_not_rebuilt_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    open(data).commit(&[serial(ORIGINS[0], 1)]).unwrap();
    let mut refused = None;
    for _ in 0..7 {
        fs::write(data.join("peers.sled/db"), [0x5a; 4096]).unwrap();
        match try_open(data, OpenMode::Serve) {
            Ok(store) => drop(store),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    let refused = refused.expect("it ends");
    assert!(refused.contains("the disk is probably faulty"), "{refused}");
    assert!(!data.join("peers.sled.damaged-6").exists());
}

/// If nothing is readable, nothing is created that looks complete.
#[test]
fn what_cannot_be_read_at_all_is_not_restored() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let nothing = local::restore(data).map(drop).unwrap_err();
    assert!(
        matches!(nothing, RestoreError::NothingMissing(_)),
        "{nothing}"
    );
    let mut store = open(data);
    let put = Write::Put {
        origin: ORIGINS[0].into(),
        registration: registration(0, [10, 0, 0, 1].into()),
    };
    store.commit(&[put]).unwrap();
    dump(&mut store);
    drop(store);
    let there = local::restore(data).map(drop).unwrap_err();
    assert!(matches!(there, RestoreError::NothingMissing(_)), "{there}");
    lose_store(data);
    for path in journal::segments(&data.join("journal")).unwrap() {
        fs::write(path, "gone").unwrap();
    }
    let path = data.join("dumps/a.internal/000000000001.json");
    fs::write(&path, "gone").unwrap();
    for _ in 0..2 {
        let error = local::restore(data).map(drop).unwrap_err();
        assert!(matches!(error, RestoreError::Unreadable { .. }), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        let error = try_open(data, OpenMode::Serve).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
    // Only an explicit request starts without peers.
    let mut store = try_open(data, OpenMode::New).unwrap();
    assert!(!store.load(ORIGINS[0]).unwrap().names_peers());
    drop(store);
    drop(open(data));
}
