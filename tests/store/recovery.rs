//! Recovery of registrations: the dumps, the journal, `paramd restore`, and a
//! start that rebuilds the store. Each test damages real files.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use crate::common::{self, PARAMD, eventually, fails_with, pipe, run, simple_zone};
use crate::place::{self, Place, assert_ids, copy, damage_after, id, serial};

/// A supervisor restarts the service before anyone has restored anything.
#[test]
fn an_empty_store_beside_dumps_that_name_peers_is_refused() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b", "c"]);
    let before = serial(&service);
    assert_eq!(service.terminate(), Some(0));
    let dumps = place.dumps();
    assert!(!dumps.is_empty());
    place.lose_store();
    let said = place.refused();
    assert!(said.contains("paramd restore"), "{said}");
    assert!(said.contains("--new"), "{said}");
    assert_eq!(place.dumps(), dumps, "the dumps are as they were");
    let said = place.restore();
    assert!(
        said.contains("restored 3 registrations of test.internal"),
        "{said}"
    );
    let service = place.start();
    assert!(serial(&service) > before, "the serial never falls");
    assert_ids(&service, &["a", "b", "c", "d"]);
}

#[test]
fn a_start_that_begins_anew_keeps_the_old_dumps_and_the_serial() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b", "c"]);
    let before = serial(&service);
    assert_eq!(service.terminate(), Some(0));
    let (_, dump) = place.newest_dump();
    place.lose_store();
    place.refused();
    let service = place.try_start(&["--new"]).unwrap();
    assert!(serial(&service) > before, "the serial never falls");
    assert_ids(&service, &["c", "b"]);
    assert_eq!(service.terminate(), Some(0));
    let kept = common::run(
        "grep",
        &["-rl", "\"a\"", place.data.path().to_str().unwrap()],
    );
    let kept = kept.lines().any(|path| fs::read(path).unwrap() == dump);
    assert!(kept, "the old dump is there");
    // What was registered since then is restored from now on.
    place.lose_store();
    place.restore();
    assert_ids(&place.start(), &["c", "b", "a"]);
}

/// Nothing was dumped since the first hosts registered.
#[test]
fn a_restore_brings_back_what_was_acknowledged_a_moment_before_a_kill() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    assert_eq!(service.terminate(), Some(0));
    let service = place.start();
    assert_ids(&service, &["a", "b", "c", "d"]);
    let server = service.address.to_string();
    run(PARAMD, &["release", place::ZONE, "b", "--server", &server]);
    let before = serial(&service);
    service.kill();
    let before_restore = place.dumps();
    assert!(!before_restore.is_empty());
    place.lose_store();
    place.refused();
    let said = place.restore();
    assert!(said.contains("restored 3 registrations"), "{said}");
    assert!(said.contains(": complete"), "{said}");
    let service = place.start();
    assert!(serial(&service) > before, "the serial never falls");
    assert_eq!(id(&service, "c"), "vp2");
    assert_eq!(id(&service, "d"), "vp3");
    // Its ID is free, as before.
    assert_eq!(id(&service, "e"), "vp1");
}

#[test]
fn a_damaged_store_is_rebuilt_at_the_start_when_the_journal_is_whole() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    let mut before = serial(&service);
    service.kill();
    for hosts in [&["a", "b", "c"][..], &["a", "b", "c", "d"]] {
        place.damage_store();
        let service = place.start();
        let log = service.log();
        let line = log.lines().find(|line| line.contains("rebuilt"));
        let line = line.unwrap_or_else(|| panic!("the log says so: {log}"));
        assert!(line.contains("peers.sled.damaged-"), "{line}");
        assert!(serial(&service) > before, "the serial never falls");
        before = serial(&service);
        assert_ids(&service, hosts);
        service.kill();
    }
    assert!(place.path("peers.sled.damaged-2").is_dir());
}

/// Changes by commands while no service is running are in the journal, too.
#[test]
fn what_was_released_by_hand_is_not_brought_back() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b", "c"]);
    service.kill();
    let data = place.data.path().to_str().unwrap();
    run(PARAMD, &["release", place::ZONE, "vp1", "--data", data]);
    place.lose_store();
    let said = place.restore();
    assert!(said.contains("restored 2 registrations"), "{said}");
    let service = place.start();
    assert_eq!(id(&service, "c"), "vp2");
    assert_eq!(id(&service, "d"), "vp1");
}

/// The newest dump is damaged: the previous one and the journal have everything.
#[test]
fn one_damaged_dump_loses_nothing() {
    let place = Place::new();
    for hosts in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        let service = place.start();
        assert_ids(&service, hosts);
        assert_eq!(service.terminate(), Some(0));
    }
    assert!(place.dumps().len() >= 3, "a dump each: {:?}", place.dumps());
    let (newest, _) = place.newest_dump();
    damage_after(&newest, "\"host\":\"");
    place.lose_store();
    let said = place.restore();
    assert!(said.contains(": complete"), "{said}");
    assert!(said.contains("does not match its checksum"), "{said}");
    assert_ids(&place.start(), &["a", "b", "c", "d"]);
}

/// The advice can be followed in any order, while a supervisor keeps restarting
/// the service.
#[test]
fn what_cannot_be_brought_back_is_named_and_the_rest_is_restored() {
    for moved_away_first in [false, true] {
        let place = Place::new();
        let service = place.start();
        assert_ids(&service, &["a", "b", "c"]);
        assert_eq!(service.terminate(), Some(0));
        let service = place.start();
        assert_ids(&service, &["a", "b", "c", "d", "e", "f"]);
        let before = serial(&service);
        service.kill();
        let (newest, _) = place.journal().pop_last().unwrap();
        damage_after(&newest, "\"host\":\"d");
        place.damage_store();
        let dumps = place.dumps();
        let said = place.refused();
        assert!(said.contains("is damaged"), "{said}");
        assert!(said.contains("paramd restore"), "{said}");
        if moved_away_first {
            fs::rename(place.store(), place.path("damaged")).unwrap();
            let said = place.refused();
            assert!(said.contains("paramd restore"), "{said}");
        }
        assert_eq!(place.dumps(), dumps, "nothing is overwritten");
        let said = place.restore_in_part();
        assert!(said.contains("incomplete"), "{said}");
        assert!(said.contains(newest.to_str().unwrap()), "{said}");
        let service = place.start();
        assert!(serial(&service) > before, "the serial never falls");
        // What precedes the damage and what follows it.
        assert_ids(&service, &["a", "b", "c"]);
        assert_eq!(id(&service, "e"), "vp4");
        assert_eq!(id(&service, "f"), "vp5");
        assert_eq!(id(&service, "g"), "vp3");
    }
}

/// The service holds the lock for a moment at each of its starts.
#[test]
fn a_restore_has_its_turn_while_a_supervisor_goes_on_trying() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    service.kill();
    place.lose_store();
    let service = thread::scope(|scope| {
        let supervisor = scope.spawn(|| {
            let starts = (0..400).map(|_| place.try_start(&[]));
            starts
                .flatten()
                .next()
                .expect("it starts after the restore")
        });
        let said = place.restore();
        assert!(said.contains("restored 2 registrations"), "{said}");
        supervisor.join().unwrap()
    });
    assert_ids(&service, &["a", "b", "c"]);
}

/// One of two zones was restored from a file, and the service starts in between.
#[test]
fn a_zone_that_was_not_restored_is_not_begun_anew() {
    let other = simple_zone("", "").replace(place::ZONE, "other.internal");
    let place = Place::with(&[("t.toml", &simple_zone("", "")), ("o.toml", &other)]);
    let data = place.data.path().to_str().unwrap();
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    assert_eq!(service.value("x.other.internal", "id").unwrap(), "vp0");
    let server = service.address.to_string();
    let dump = ["dump", place::ZONE, "--format", "json", "--server", &server];
    let dump = run(PARAMD, &dump);
    assert_eq!(service.terminate(), Some(0));
    place.lose_store();
    let restored = pipe(PARAMD, &["restore", "-", "--data", data], &dump);
    assert!(restored.status.success(), "{restored:?}");
    let said = place.refused();
    assert!(said.contains("other.internal"), "{said}");
    let said = place.restore();
    assert!(said.contains("1 registration of other.internal"), "{said}");
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    assert_eq!(service.value("y.other.internal", "id").unwrap(), "vp1");
    assert_eq!(service.terminate(), Some(0));
    let said = fails_with(1, PARAMD, &["restore", "--data", data]);
    assert!(said.contains("nothing is missing"), "{said}");
}

#[test]
fn ten_dumps_are_kept_and_one_of_the_day() {
    let place = Place::new();
    let mut hosts = Vec::new();
    let names: Vec<String> = (0..14).map(|number| format!("h{number}")).collect();
    for name in &names {
        hosts.push(name.as_str());
        let service = place.start();
        assert_ids(&service, &hosts);
        assert_eq!(service.terminate(), Some(0));
    }
    let dumps = place.dumps();
    assert_eq!(dumps.len(), 11, "{:?}", dumps.keys());
    // Nothing has changed since, so there is no further dump.
    let service = place.start();
    assert_ids(&service, &hosts);
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(place.dumps(), dumps);
}

/// Killed, restarted, only heartbeats, stopped: registrations from before the
/// kill are in a dump, and the start reports how old the last one is.
#[test]
fn what_was_registered_before_a_kill_is_dumped_after_it() {
    let place = Place::new();
    let service = place.start();
    assert_ids(&service, &["a"]);
    service.kill();
    let service = place.start();
    eventually(Duration::from_secs(10), "it says so", || {
        service.log().contains("test.internal: there is no dump")
    });
    assert_ids(&service, &["a"]);
    assert_eq!(service.terminate(), Some(0));
    let (_, dump) = place.newest_dump();
    let dump = String::from_utf8(dump).unwrap();
    assert!(dump.contains("\"host\":\"a\""), "{dump}");
    let service = place.start();
    eventually(Duration::from_secs(10), "it says how old", || {
        let log = service.log();
        log.contains("test.internal: the last dump was taken at ") && log.contains(" ago")
    });
    // Also if the service is killed again: it is dumped soon after the start.
    assert_ids(&service, &["a", "b"]);
    service.kill();
    let service = place.start();
    eventually(Duration::from_secs(10), "it is dumped", || {
        let (_, dump) = place.newest_dump();
        String::from_utf8(dump).unwrap().contains("\"host\":\"b\"")
    });
    service.kill();
}

#[test]
fn a_store_of_another_data_directory_or_an_older_copy_is_noticed() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        let service = place.start();
        assert_ids(&service, &["a", "b"]);
        assert_eq!(service.terminate(), Some(0));
    }
    copy(&place.store(), &place.path("older"));
    let service = place.start();
    assert_ids(&service, &["a", "b", "c", "d"]);
    service.kill();
    // An older copy: later registrations are in the journal.
    place.lose_store();
    fs::rename(place.path("older"), place.store()).unwrap();
    let service = place.start();
    assert!(service.log().contains("rebuilt"), "{}", service.log());
    assert_ids(&service, &["a", "b", "c", "d"]);
    service.kill();
    place.lose_store();
    copy(&other.store(), &place.store());
    let said = place.refused();
    assert!(said.contains("another data directory"), "{said}");
    assert!(said.contains("paramd restore"), "{said}");
    fs::rename(place.store(), place.path("stranger")).unwrap();
    place.restore();
    assert_ids(&place.start(), &["a", "b", "c", "d", "e"]);
}

#[test]
fn a_directory_that_takes_no_dump_keeps_nobody_from_registering() {
    let place = Place::new();
    fs::write(place.path("dumps"), "in the way").unwrap();
    let service = place.start();
    assert_ids(&service, &["a"]);
    assert_eq!(service.terminate(), Some(0));
    fs::remove_file(place.path("dumps")).unwrap();
    place.damage_store();
    let service = place.start();
    assert_ids(&service, &["a", "b"]);
    assert_eq!(service.terminate(), Some(0));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    let (dump, _) = place.newest_dump();
    assert_eq!(mode(&dump) & 0o002, 0, "not for everybody to change");
}
