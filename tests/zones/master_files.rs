//! Master files: read like BIND does, or refused with the line.
//!
//! `tests/zones/master_files/*.txt` contains several hundred small files, each for one
//! aspect. The records must be those that `named-compilezone` finds; a refused
//! file must be refused by it as well. Deliberate differences are marked with a
//! reason, and must exist. The marks are
//!
//! * `=== TITLE`: a new file.
//! * `=! LINE: WORDS`: it is refused with this message at this line, or at
//!   `FILE:LINE` of an included file. One mark for each mistake.
//! * `=~ REASON`: BIND differs.
//! * `=> FILE`: the start of an included file.
//!
//! `{{255 a}}` is that many of the character, `{{ff}}` an octet, `{{end}}` no
//! newline.

mod corpus;

use std::{collections::BTreeSet, path::Path};

use crate::common::{self, PARAMD, fails_with, pipe, run, simple_zone, zones};
use corpus::{Case, compiled, zone};
use param_daemon::zone::{Zone, master};

static TEXTS: [&str; 7] = [
    include_str!("master_files/syntax.txt"),
    include_str!("master_files/names.txt"),
    include_str!("master_files/directives.txt"),
    include_str!("master_files/types.txt"),
    include_str!("master_files/octets.txt"),
    include_str!("master_files/svcb.txt"),
    include_str!("master_files/zone.txt"),
];

/// How many modified files are compared, in about 10 s.
const CHANGED_FILES: usize = 1_000;

/// The result for a file: lines of a master file, or the mistakes.
fn read(directory: &Path, zone: &Zone) -> Result<String, Vec<String>> {
    let records = master::read(&directory.join("case.zone"), zone).map_err(|problems| {
        let shown = |problem: &_| {
            let text = format!("{problem}");
            let directory = format!("{}/", directory.display());
            let text = text.replace(&directory, "");
            text.strip_prefix("case.zone:").unwrap_or(&text).to_owned()
        };
        problems.iter().map(shown).collect::<Vec<_>>()
    })?;
    let lines: String = records
        .iter()
        .map(|record| format!("{}\n", master::line(record)))
        .collect();
    let again = master::parse(Path::new("lines"), lines.as_bytes(), zone).unwrap();
    assert!(again.iter().eq(records.iter()), "{lines}");
    Ok(lines)
}

/// What is wrong with the result for a file.
fn wrong(case: &Case, zone: &Zone) -> Option<String> {
    let directory = case.written();
    let expected = compiled(directory.path(), "$INCLUDE case.zone\n");
    let found = read(directory.path(), zone);
    let is_same = match (&found, &expected) {
        (Ok(lines), Ok(records)) => compiled(directory.path(), lines).as_ref() == Ok(records),
        (Err(_), Err(_)) => true,
        _ => false,
    };
    let refused = found.as_ref().err().cloned().unwrap_or_default();
    let is_expected = refused.len() == case.refused.len()
        && refused.iter().zip(&case.refused).all(|(found, expected)| {
            let (place, words) = expected.split_once(": ").unwrap();
            found.starts_with(&format!("{place}: ")) && found.contains(words)
        });
    if is_expected && is_same != case.differs {
        return None;
    }
    Some(format!(
        "=== {}\n{found:?}\nBIND: {expected:?}\n",
        case.title
    ))
}

fn compare(text: &str) {
    let zone = zone();
    let cases = corpus::cases(text);
    let wrong: Vec<String> = cases.iter().filter_map(|case| wrong(case, &zone)).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn syntax_is_that_of_bind() {
    compare(TEXTS[0]);
}

#[test]
fn names_are_those_of_bind() {
    compare(TEXTS[1]);
}

#[test]
fn directives_are_those_of_bind() {
    compare(TEXTS[2]);
}

#[test]
fn types_are_those_of_bind() {
    compare(TEXTS[3]);
}

#[test]
fn octets_are_those_of_bind() {
    compare(TEXTS[4]);
}

#[test]
fn service_parameters_are_those_of_bind() {
    compare(TEXTS[5]);
}

#[test]
fn records_together_are_those_of_bind() {
    compare(TEXTS[6]);
}

/// BIND reads every accepted file in the same way. (It may accept a file that is
/// refused here, as in the files with a reason.)
#[test]
fn files_with_a_change_are_read_as_bind_reads_them() {
    let zone = zone();
    let cases = TEXTS.iter().flat_map(|text| corpus::cases(text));
    let seeds: Vec<Vec<u8>> = cases
        .filter(|case| case.files.len() == 1)
        .map(|mut case| case.files.remove(0).1)
        .filter(|text| (1..200).contains(&text.len()))
        .collect();
    // Always the same files (Marsaglia's xorshift).
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut number = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut read_files = 0;
    for _ in 0..CHANGED_FILES {
        let text = corpus::changed(&seeds, &mut number);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("case.zone"), &text).unwrap();
        let Ok(lines) = read(directory.path(), &zone) else {
            continue;
        };
        read_files += 1;
        let expected = compiled(directory.path(), "$INCLUDE case.zone\n");
        let found = compiled(directory.path(), &lines);
        let text = String::from_utf8_lossy(&text);
        assert!(expected.is_ok(), "{text:?}: {expected:?}");
        assert_eq!(found, expected, "{text:?}");
    }
    assert!(read_files > CHANGED_FILES / 10, "{read_files}");
}

/// All accepted files in one zone: BIND's tools accept the transfer, and find the
/// same records.
#[test]
fn what_is_read_is_served_transferred_and_dumped() {
    let cases = TEXTS.iter().flat_map(|text| corpus::cases(text));
    // Some contain absolute names, or belong to the origin.
    let cases: Vec<Case> = cases
        .filter(|case| case.refused.is_empty() && !case.differs && case.is_alone())
        .collect();
    assert!(cases.len() > 120, "{}", cases.len());
    let directory = zones(&[("z.toml", &simple_zone("records = \"all.zone\"", ""))]);
    let mut all = String::new();
    for (number, case) in cases.iter().enumerate() {
        let file = format!("case{number}");
        std::fs::write(directory.path().join(&file), &case.files[0].1).unwrap();
        all.push_str(&format!(
            "$TTL 5\n$INCLUDE {file} case-{number}.test.internal.\n"
        ));
    }
    std::fs::write(directory.path().join("all.zone"), &all).unwrap();
    let expected = compiled(directory.path(), "$INCLUDE all.zone\n").unwrap();

    let data = tempfile::tempdir().unwrap();
    let service = common::Service::start(directory.path(), data.path());
    let server = service.address.to_string();
    let of_service = |dump: &str| -> BTreeSet<String> {
        let options = [
            "-q", "-F", "text", "-s", "full", "-i", "none", "-k", "ignore",
        ];
        let rest = ["-o", "-", "test.internal", "/dev/stdin"];
        let read = pipe("named-compilezone", &[&options[..], &rest].concat(), dump);
        assert!(read.status.success(), "{read:?}");
        corpus::lines(&read.stdout)
    };
    let missing = |dump: &str| -> Vec<String> {
        let found = of_service(dump);
        expected
            .iter()
            .filter(|line| !found.contains(*line))
            .cloned()
            .collect()
    };
    let dump = run(PARAMD, &["dump", "test.internal", "--server", &server]);
    assert_eq!(missing(&dump), [""; 0]);
    let transfer = service.dig(&["AXFR", "test.internal", "+onesoa", "+nocookie"]);
    assert!(transfer.contains("XFR size"), "{transfer:.300}");
    assert_eq!(missing(&transfer), [""; 0]);
    drop(service);
    let options = ["--zones", directory.path().to_str().unwrap()];
    let data = ["--data", data.path().to_str().unwrap()];
    let dump = run(
        PARAMD,
        &[&["dump", "test.internal"], &options[..], &data].concat(),
    );
    assert_eq!(missing(&dump), [""; 0]);
}

#[test]
fn what_is_included_is_bounded() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let check = |files: &[(&str, &str)]| {
        let mut all = vec![("z.toml", zone.as_str())];
        all.extend(files);
        let directory = zones(&all);
        let path = directory.path().to_str().unwrap();
        let pipe = directory.path().join("pipe");
        run("mkfifo", &[pipe.to_str().unwrap()]);
        fails_with(1, PARAMD, &["check", "--zones", path]).replace(path, "ZONES")
    };
    for (further, expected) in [
        (
            "$INCLUDE /dev/zero\n",
            "1: `/dev/zero` is not a regular file",
        ),
        ("$INCLUDE pipe\n", "1: `pipe` is not a regular file"),
        (
            "$INCLUDE further.zone\n",
            "1: `further.zone` includes itself",
        ),
    ] {
        let said = check(&[("further.zone", further)]);
        let expected = format!("ZONES/further.zone:{expected}");
        assert!(said.contains(&expected), "{said}");
    }
    // Each file includes the next.
    let names: Vec<String> = (0..12).map(|it| format!("{it}.zone")).collect();
    let texts: Vec<String> = (1..13).map(|it| format!("$INCLUDE {it}.zone\n")).collect();
    let mut files = vec![("further.zone", "$INCLUDE 0.zone\n")];
    files.extend(
        names
            .iter()
            .zip(&texts)
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    let said = check(&files);
    assert!(
        said.contains("9.zone:1: `10.zone` is included too deep"),
        "{said}"
    );
    // Each file includes the next twice: without a limit, 2^20 times the last
    // one.
    let texts: Vec<String> = (1..8)
        .map(|it| format!("$INCLUDE {it}.zone\n").repeat(20))
        .collect();
    let mut files = vec![("further.zone", "$INCLUDE 0.zone\n"), ("7.zone", "")];
    files.extend(
        names
            .iter()
            .zip(&texts)
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    let said = check(&files);
    assert!(said.contains("is one of more than 10000 files"), "{said}");
    // 18 MB.
    let line = format!("; {}\n", "x".repeat(997));
    let said = check(&[
        ("further.zone", "$INCLUDE big\n"),
        ("big", &line.repeat(18_000)),
    ]);
    assert!(said.contains("1: `big` makes more than 16 MB"), "{said}");
}

#[test]
fn a_file_that_is_no_master_file_says_so_twenty_times() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let further = "= what = is this\n".repeat(1_000);
    let zones = zones(&[("z.toml", &zone), ("further.zone", &further)]);
    let path = zones.path().to_str().unwrap();
    let said = fails_with(1, PARAMD, &["check", "--zones", path]);
    assert_eq!(said.lines().count(), 20, "{said}");
}
