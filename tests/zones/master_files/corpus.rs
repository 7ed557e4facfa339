//! The files of `tests/master_files`, and BIND's result for each.

use std::{collections::BTreeSet, path::Path, process::Command};

use param_daemon::zone::{self, Zone};
use tempfile::TempDir;

use crate::common::simple_zone;

pub struct Case {
    pub title: String,
    /// `LINE: WORDS`, one for each mistake.
    pub refused: Vec<String>,
    /// Whether BIND reads it differently.
    pub differs: bool,
    /// The master file, followed by the included files.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Case {
    /// Whether it can be placed elsewhere in the zone, without other files.
    pub fn is_alone(&self) -> bool {
        let text = String::from_utf8_lossy(&self.files[0].1);
        let is_bound = [
            "test.internal",
            "$INCLUDE",
            "$include",
            "@ NS",
            "$ORIGIN TEST",
        ];
        self.files.len() == 1
            && !is_bound.iter().any(|words| text.contains(words))
            && text.len() < 20_000
            && !text.contains(&"a".repeat(59))
    }

    pub fn written(&self) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, octets) in &self.files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, octets).unwrap();
        }
        directory
    }
}

/// The zone that the files belong to.
pub fn zone() -> Zone {
    zone::parse(Path::new("z.toml"), &simple_zone("", "")).unwrap()
}

pub fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut is_head = true;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            is_head = false;
            cases.push(Case {
                title: title.into(),
                refused: Vec::new(),
                differs: false,
                files: vec![("case.zone".into(), Vec::new())],
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(is_head && line.starts_with('#'), "{line}");
            continue;
        };
        if let Some(refused) = line.strip_prefix("=! ") {
            case.refused.push(refused.into());
        } else if let Some(reason) = line.strip_prefix("=~ ") {
            assert!(!reason.is_empty());
            case.differs = true;
        } else if let Some(name) = line.strip_prefix("=> ") {
            case.files.push((name.into(), Vec::new()));
        } else {
            let (_, file) = case.files.last_mut().unwrap();
            file.extend(octets(&format!("{line}\n")));
        }
    }
    cases
}

/// The octets of a line, with `{{…}}` expanded.
fn octets(line: &str) -> Vec<u8> {
    let Some((before, rest)) = line.split_once("{{") else {
        return line.as_bytes().to_vec();
    };
    let mut octets = before.as_bytes().to_vec();
    // The number of opening braces equals that of closing ones.
    let end = rest
        .match_indices("}}")
        .map(|(end, _)| end)
        .find(|end| rest[..*end].matches("{{").count() == rest[..*end].matches("}}").count())
        .unwrap();
    let (inner, behind) = (&rest[..end], &rest[end + 2..]);
    match inner {
        "end" => return octets,
        "cr" => octets.push(b'\r'),
        "nul" => octets.push(0),
        "bom" => octets.extend(b"\xef\xbb\xbf"),
        _ => match inner.split_once(' ') {
            Some((count, what)) => {
                let what = self::octets(what);
                octets.extend(what.repeat(count.parse().unwrap()));
            }
            None => octets.push(u8::from_str_radix(inner, 16).unwrap()),
        },
    }
    octets.extend(self::octets(behind));
    octets
}

/// Fragments that are inserted into files.
const PARTS: [&[u8]; 29] = [
    b"\"", b"(", b")", b";", b"\\", b" ", b"\n", b"\t", b"\r", b".", b"@", b"$", b"-", b"=", b",",
    b":", b"!", b"0", b"1", b"255", b"65536", b"60", b"A", b"IN", b"a", b"\\032", b"\\#", b"\\\"",
    b"key9",
];

/// Files of the corpus with one random modification each.
pub fn changed(seeds: &[Vec<u8>], mut number: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut text = seeds[number(seeds.len())].clone();
    let at = number(text.len());
    let part = PARTS[number(PARTS.len())];
    match number(4) {
        0 => drop(text.remove(at)),
        1 => drop(text.splice(at..at, part.iter().copied())),
        2 => drop(text.splice(at..=at, part.iter().copied())),
        _ => {
            let other = &seeds[number(seeds.len())];
            let start = number(other.len());
            let end = other.len().min(start + number(12));
            text.splice(at..at, other[start..end].iter().copied());
        }
    }
    text
}

/// The records that BIND finds in the lines, without those of the service, or its
/// error message.
pub fn compiled(directory: &Path, lines: &str) -> Result<BTreeSet<String>, String> {
    let whole = format!(
        "$ORIGIN test.internal.\n$TTL 5\n{lines}$ORIGIN test.internal.\n\
         @ 5 SOA ns.dns hostmaster 1 60 10 86400 0\n@ 5 NS ns.dns\nns.dns 5 A 127.0.0.1\n"
    );
    let file = directory.join("whole.zone");
    std::fs::write(&file, whole).unwrap();
    let output = Command::new("named-compilezone")
        .current_dir(directory)
        .args(["-F", "text", "-s", "full", "-i", "local", "-k", "ignore"])
        .args([
            "-m", "ignore", "-M", "ignore", "-S", "ignore", "-o", "compiled",
        ])
        .args(["test.internal", "whole.zone"])
        .output()
        .expect("named-compilezone is installed");
    match output.status.success() {
        true => Ok(self::lines(
            &std::fs::read(directory.join("compiled")).unwrap(),
        )),
        false => Err(String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)),
    }
}

/// The records of a zone that BIND wrote, without those of the service. The case
/// of owner names is not significant.
pub fn lines(zone: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8(zone.to_vec()).unwrap();
    let records = text.lines().map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let owner = words.next().unwrap_or_default().to_lowercase();
        let words: Vec<String> = std::iter::once(owner).chain(words).collect();
        words.join(" ")
    });
    let is_own = |record: &String| {
        record.contains(" IN SOA ") || record == "ns.dns.test.internal. 5 IN A 127.0.0.1"
    };
    let records = records.filter(|record| !record.is_empty() && !is_own(record));
    records.collect()
}
