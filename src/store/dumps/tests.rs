use super::*;
use crate::store::Registration;

const ORIGIN: &str = "test.internal.";

fn contents(commit: u64, serial: u64) -> Contents {
    let registration = Registration {
        host: format!("host-{commit}"),
        sequence: "vp".into(),
        number: 0,
        role: "mixed".into(),
        source: [10, 0, 0, 1].into(),
        address: [10, 0, 0, 1].into(),
        epoch: 7,
    };
    Contents {
        registrations: vec![registration],
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

#[test]
fn every_origin_has_a_folder_of_its_own() {
    let origins = ["a.b.", "a/b.", "%2f.", "a%2fb.", "..", "\\047."];
    let names: BTreeSet<String> = origins.iter().map(|it| folder_name(it)).collect();
    assert_eq!(names.len(), origins.len());
    assert!(names.iter().all(|name| !name.contains('/')));
    for origin in ["a.b.", "a/b.", "%2f.", "\\047."] {
        assert_eq!(origin_of(&folder_name(origin)).unwrap(), origin);
    }
    assert_eq!(origin_of("..").or(origin_of(".hidden")), None);
}
