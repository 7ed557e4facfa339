//! Dumps: which are kept, which are taken for the newest, and what of a damaged or
//! edited file is accepted.

use std::{collections::BTreeSet, fs};

use crate::windows::model;
use param_daemon::store::{
    Contents, Identity, Pin, Registration,
    dumps::{
        DAYS_KEPT, Dump, DumpError, Dumps, Generation, Head, MissingChecksum, Newest, RECENT_KEPT,
        Timestamp,
    },
};

const ORIGIN: &str = "test.internal.";

fn registration(number: u32) -> Registration {
    Registration {
        epoch: 7,
        ..model::registration(number, [10, 0, 0, 1].into())
    }
}

fn contents(commit: u64, serial: u64) -> Contents {
    Contents {
        registrations: vec![registration(commit as u32)],
        serial,
        commit,
        changed: commit,
        ..Contents::default()
    }
}

fn dumps() -> (tempfile::TempDir, Dumps) {
    let data = tempfile::tempdir().unwrap();
    let dumps = Dumps::new(data.path(), Identity::new().unwrap());
    (data, dumps)
}

fn commits(dumps: &Dumps) -> Vec<u64> {
    dumps.of(ORIGIN).iter().map(|it| it.commit).collect()
}

/// Changes the day of a dump.
fn date(dumps: &Dumps, generation: &Generation, day: u64) {
    let mut dump = dumps.read(generation, ORIGIN).unwrap();
    dump.head.made = Some(Timestamp(day * 86_400));
    let mut bytes = Vec::new();
    dump.write(&mut bytes).unwrap();
    fs::write(&generation.path, bytes).unwrap();
}

#[test]
fn the_last_ten_are_kept_and_one_of_each_day_for_a_month() {
    let (_data, dumps) = dumps();
    // Two dumps on each of a hundred days.
    for commit in 1..=200 {
        let written = dumps.write(ORIGIN, contents(commit, commit)).unwrap();
        date(&dumps, &written, commit / 2);
    }
    let last = dumps.write(ORIGIN, contents(201, 201)).unwrap();
    // A clock that is set back does not cause the removal of dumps.
    date(&dumps, &last, 3);
    dumps.write(ORIGIN, contents(202, 202)).unwrap();
    let kept = commits(&dumps);
    assert_eq!(kept.len(), RECENT_KEPT + DAYS_KEPT);
    assert_eq!(kept[..RECENT_KEPT], (193..=202).rev().collect::<Vec<_>>());
    let days = kept[RECENT_KEPT..].iter().map(|commit| commit / 2);
    assert_eq!(days.collect::<BTreeSet<_>>().len(), DAYS_KEPT);
    assert!(
        kept[RECENT_KEPT..].iter().all(|commit| *commit > 130),
        "{kept:?}"
    );
}

#[test]
fn no_dump_takes_the_place_of_a_newer_one() {
    let (_data, dumps) = dumps();
    dumps.write(ORIGIN, contents(5, 500)).unwrap();
    let before = fs::read(&dumps.of(ORIGIN)[0].path).unwrap();
    for (commit, serial) in [(4, 600), (5, 600), (6, 499)] {
        let error = dumps.write(ORIGIN, contents(commit, serial)).unwrap_err();
        assert!(error.to_string().contains("is not newer"), "{error}");
    }
    assert_eq!(commits(&dumps), [5]);
    assert_eq!(dumps.covered(ORIGIN), 0, "it may be damaged");
    assert_eq!(fs::read(&dumps.of(ORIGIN)[0].path).unwrap(), before);
    dumps.write(ORIGIN, contents(6, 500)).unwrap();
    assert_eq!(commits(&dumps), [6, 5]);
    assert_eq!(dumps.covered(ORIGIN), 5);
}

#[test]
fn a_dump_of_elsewhere_or_of_another_zone_is_not_taken() {
    let (_data, dumps) = dumps();
    let (_other, others) = self::dumps();
    for (dumps, origin) in [(&others, ORIGIN), (&dumps, "other.internal.")] {
        dumps.write(origin, contents(7, 7)).unwrap();
    }
    dumps.write(ORIGIN, contents(3, 3)).unwrap();
    let place = |commit: u64| {
        let sound = &dumps.of(ORIGIN).pop().unwrap().path;
        sound.with_file_name(format!("{commit:012}.json"))
    };
    fs::copy(&others.of(ORIGIN)[0].path, place(7)).unwrap();
    fs::copy(&dumps.of("other.internal.")[0].path, place(8)).unwrap();
    fs::copy(place(3), place(9)).unwrap();
    let Newest { sound, problems } = dumps.newest_sound(ORIGIN);
    assert_eq!(sound.unwrap().generation.commit, 3);
    let expected = [
        "does not match its commit",
        "is a dump of other.",
        "another data",
    ];
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
    assert_eq!(problems.len(), expected.len());
}

#[test]
fn dumps_of_an_earlier_release_are_found() {
    let (data, dumps) = dumps();
    let directory = data.path().join("dumps");
    fs::create_dir(&directory).unwrap();
    let text = r#"{"version":1,"origin":"test.internal.","serial":9,"peers":[]}"#;
    fs::write(directory.join("test.internal.json"), text).unwrap();
    assert_eq!(dumps.origins(), BTreeSet::from([ORIGIN.to_owned()]));
    let Newest { sound, problems } = dumps.newest_sound(ORIGIN);
    assert_eq!(sound.unwrap().head.serial, 9, "{problems:?}");
    dumps.write(ORIGIN, contents(1, 10)).unwrap();
    assert_eq!(commits(&dumps), [1, 0]);
    let aside = dumps.set_aside(ORIGIN).unwrap().unwrap();
    assert!(commits(&dumps).is_empty());
    assert!(aside.join("test.internal.json").is_file());
    assert!(aside.join("test.internal/000000000001.json").is_file());
}

fn dump() -> Dump {
    let mut head = Head::now(ORIGIN.into(), 7);
    head.commit = Some(3);
    head.network = Some(Identity::new().unwrap());
    Dump {
        head,
        peers: (0..3).map(registration).collect(),
        pins: vec![Pin {
            host: "pinned".into(),
            sequence: "vp".into(),
            number: 9,
        }],
    }
}

#[test]
fn what_is_written_is_read_and_every_changed_byte_is_noticed() {
    let dump = dump();
    let mut written = Vec::new();
    dump.write(&mut written).unwrap();
    let read = Dump::read(&written, MissingChecksum::Reject).unwrap();
    assert_eq!(read, dump);
    assert_eq!(Head::read(&written[..]).unwrap(), dump.head);
    // A line break at the end is no damage: some editors add one.
    for place in 0..written.len() - 1 {
        let mut damaged = written.clone();
        damaged[place] ^= 1;
        assert!(
            Dump::read(&damaged, MissingChecksum::Reject).is_err(),
            "byte {place}"
        );
        let cut = &written[..place];
        assert!(
            Dump::read(cut, MissingChecksum::Accept).is_err(),
            "cut at {place}"
        );
    }
}

#[test]
fn a_dump_without_a_checksum_is_taken_where_that_is_wanted() {
    let mut written = Vec::new();
    dump().write(&mut written).unwrap();
    let text = String::from_utf8(written).unwrap();
    let (edited, _) = text.split_once(",\n\"checksum\"").unwrap();
    let edited = edited.replace("host-1", "other") + "}";
    let read = Dump::read(edited.as_bytes(), MissingChecksum::Accept).unwrap();
    assert_eq!(read.peers[1].host, "other");
    let error = Dump::read(edited.as_bytes(), MissingChecksum::Reject).unwrap_err();
    assert!(matches!(error, DumpError::NoChecksum), "{error}");
    let first = r#"{"version":1,"origin":"a.","serial":1,"peers":[]}"#;
    let read = Dump::read(first.as_bytes(), MissingChecksum::Accept).unwrap();
    assert_eq!(read.head.commit, None);
    let later = r#"{"version":3,"origin":"a.","more":1}"#;
    let error = Dump::read(later.as_bytes(), MissingChecksum::Accept).unwrap_err();
    assert!(matches!(error, DumpError::UnknownVersion(3)), "{error}");
}
