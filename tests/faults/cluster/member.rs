//! A member of etcd, whose data is on a small file system of its own.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use super::process::Process;
use crate::common::{attempt, run};

/// The size of its file system. etcd reserves 64 MB for each of its logs.
const DISK: &str = "size=160m";

/// A file system in memory, which is removed when it is dropped.
pub struct Disk(PathBuf);

impl Disk {
    pub fn new(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", DISK, "tmpfs", path.to_str().unwrap()],
        );
        Self(path.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Fills it.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        let piece = vec![0; 1 << 20];
        while file.write_all(&piece).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    /// Makes space again.
    pub fn clear(&self) {
        // It may not have been filled.
        let _ = fs::remove_file(self.filler());
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = attempt("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

/// The process of the member with this number; `addresses` are those of all.
pub fn member(
    number: usize,
    namespace: &str,
    addresses: &[Ipv4Addr],
    disk: &Disk,
    log: PathBuf,
) -> Process {
    let name = |number: usize| format!("member-{number}");
    let peer = |address: &Ipv4Addr| format!("http://{address}:2380");
    let client = format!("http://{}:2379", addresses[number]);
    let own_peer = peer(&addresses[number]);
    let all = addresses.iter().enumerate();
    let all: Vec<String> = all
        .map(|(it, address)| format!("{}={}", name(it), peer(address)))
        .collect();
    let data = disk.path().join("data");
    let arguments = [
        ("--name", &*name(number)),
        ("--data-dir", data.to_str().unwrap()),
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &own_peer),
        ("--initial-advertise-peer-urls", &own_peer),
        ("--initial-cluster", &all.join(",")),
        ("--initial-cluster-token", "faults"),
        // So that a member that was away gets a snapshot.
        ("--snapshot-count", "500"),
        ("--auto-compaction-mode", "periodic"),
        ("--auto-compaction-retention", "1m"),
        ("--log-level", "warn"),
    ];
    let arguments = arguments
        .into_iter()
        .flat_map(|(key, value)| [key.to_owned(), value.to_owned()]);
    Process::new(name(number), namespace, "etcd", arguments.collect(), log)
}
