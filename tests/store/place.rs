//! A data directory, and damage to it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::common::{Options, PARAMD, Service, attempt, fails_with, run, simple_zone, zones};

pub const ZONE: &str = "test.internal";

/// A data directory with the zone that its service serves.
pub struct Place {
    pub zones: TempDir,
    pub data: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::with(&[("t.toml", &simple_zone("", ""))])
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        Self {
            zones: zones(files),
            data: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("peers.sled")
    }

    pub fn start(&self) -> Service {
        Service::start(self.zones.path(), self.data.path())
    }

    /// A start with further options: the service, or its messages.
    pub fn try_start(&self, more: &[&str]) -> Result<Service, String> {
        let mut options = Options::new(self.zones.path(), self.data.path());
        options.more = more.iter().map(|it| (*it).to_owned()).collect();
        Service::try_start(&options)
    }

    /// The message of a start that must be refused, however often a supervisor
    /// tries.
    pub fn refused(&self) -> String {
        let mut said = String::new();
        for _ in 0..3 {
            said = self.try_start(&[]).map(drop).unwrap_err();
            let errors = said.lines().filter(|line| line.starts_with("paramd:"));
            assert_eq!(errors.count(), 1, "one line says what to do: {said}");
        }
        said
    }

    fn arguments(&self) -> [&str; 3] {
        ["restore", "--data", self.data.path().to_str().unwrap()]
    }

    /// `paramd restore` without a file.
    pub fn restore(&self) -> String {
        run(PARAMD, &self.arguments())
    }

    /// The same if not everything can be restored. Returns the message.
    pub fn restore_in_part(&self) -> String {
        fails_with(1, PARAMD, &self.arguments())
    }

    /// `paramd check --data`: its exit status and its output.
    pub fn check(&self) -> (Option<i32>, String) {
        let zones = self.zones.path().to_str().unwrap();
        let data = self.data.path().to_str().unwrap();
        let output = attempt(PARAMD, &["check", "--zones", zones, "--data", data]);
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(printed).unwrap())
    }

    /// The zone's dumps, oldest first, with their contents.
    pub fn dumps(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_below(&self.path("dumps"), "json")
    }

    pub fn newest_dump(&self) -> (PathBuf, Vec<u8>) {
        self.dumps().pop_last().expect("there is a dump")
    }

    pub fn journal(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_below(&self.path("journal"), "journal")
    }

    /// Deletes sled's own files.
    pub fn lose_store(&self) {
        fs::remove_dir_all(self.store()).unwrap();
    }

    /// Makes sled's log unreadable.
    pub fn damage_store(&self) {
        let log = self.store().join("db");
        let mut octets = fs::read(&log).unwrap();
        octets.fill(0x5a);
        fs::write(&log, octets).unwrap();
    }
}

fn files_below(directory: &Path, extension: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                let octets = fs::read(&path).unwrap();
                found.insert(path, octets);
            }
        }
    }
    found
}

/// Changes one byte in the middle of a file, after this text.
pub fn damage_after(path: &Path, text: &str) {
    let mut octets = fs::read(path).unwrap();
    let place = octets
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .unwrap_or_else(|| panic!("{text} is not in {}", path.display()));
    octets[place + text.len()] ^= 1;
    fs::write(path, octets).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// The ID of the host, which is registered if it is new.
pub fn id(service: &Service, host: &str) -> String {
    service
        .value(&format!("{host}.{ZONE}"), "id")
        .unwrap_or_else(|| panic!("{host} has an ID: {}", service.log()))
}

pub fn serial(service: &Service) -> u32 {
    let soa = service.short(&["SOA", ZONE]);
    soa[0].split(' ').nth(2).unwrap().parse().unwrap()
}

/// Asserts that the hosts have consecutive IDs from `vp0`.
pub fn assert_ids(service: &Service, hosts: &[&str]) {
    for (number, host) in hosts.iter().enumerate() {
        assert_eq!(id(service, host), format!("vp{number}"), "{host}");
    }
}
