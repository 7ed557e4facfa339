//! A replica of the service: its files, and how it is started.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::process::Process;
use crate::{
    clients::{LIMITED_ROLE, ORIGIN},
    common::PARAMD,
};

/// The port at which replicas reach each other.
const CHANNEL: u16 = 5300;

/// The library that sets the wall clock of a process.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The durations of the zone and the configuration.
#[derive(Debug, Clone)]
pub struct Times {
    pub lease: Duration,
    pub reclaim: Duration,
    pub hold: Duration,
    /// Of the writer, in etcd.
    pub writer_lease: Duration,
}

/// A zone with a sequence that has no end, and one of four numbers.
fn zone(times: &Times) -> String {
    let (lease, reclaim) = (times.lease.as_secs(), times.reclaim.as_secs());
    format!(
        "origin = \"{ORIGIN}\"\nlease = \"{lease}s\"\nreclaim = \"{reclaim}s\"\n\
         root_port = \"grpc\"\nroot_sequence = \"vp\"\ndefault_role = \"mixed\"\n\
         [ports]\ngrpc = 7051\n[sequences.vp]\n[sequences.nvp]\nlimit = 4\n\
         [roles.mixed]\nsequence = \"vp\"\n[roles.{LIMITED_ROLE}]\nsequence = \"nvp\"\n\
         [environment]\nCORE_PEER_ID = \"{{{{ id }}}}\"\n"
    )
}

/// No limits, and updates by everyone.
fn configuration(number: usize, times: &Times) -> String {
    let lease = times.writer_lease.as_secs();
    format!(
        "[access]\nupdate = [\"10.77.0.0/24\"]\n[limits]\nresponses_per_second = 0\n\
         new_hosts_per_source = 0\nchanges_per_host = 0\n[identity]\n\
         name = \"replica-{number}\"\n[etcd]\nlease = \"{lease}s\"\n"
    )
}

/// The keys for replicas that reach each other.
fn channel(address: Ipv4Addr, times: &Times) -> String {
    let hold = times.hold.as_secs();
    format!("channel = \"{address}:{CHANNEL}\"\nhold = \"{hold}s\"\n")
}

/// The file that says how far the wall clock of a replica is off.
pub struct WallClock(PathBuf);

impl WallClock {
    pub fn set(&self, seconds: i64) {
        // In one step, since the process may read it at any time.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

/// The process of the replica with this number, and its wall clock.
pub fn replica(
    number: usize,
    namespace: &str,
    address: Ipv4Addr,
    store: &str,
    times: &Times,
    directory: &Path,
) -> (Process, WallClock) {
    let (zones, data) = (directory.join("zones"), directory.join("data"));
    fs::create_dir_all(&zones).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(zones.join("faults.toml"), zone(times)).unwrap();
    let config = directory.join("paramd.toml");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    fs::write(
        &config,
        configuration(number, times) + &channel(address, times),
    )
    .unwrap();
    let clock = WallClock(directory.join("clock"));
    clock.set(0);
    let library = LIBRARIES.iter().find(|it| Path::new(it).exists());
    let library = library.expect("libfaketime is installed: see scripts/test-faults");
    let environment = [
        ("LD_PRELOAD", *library),
        ("FAKETIME_TIMESTAMP_FILE", &text(&clock.0)),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_RESET", "1"),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let arguments = vec![
        "serve".to_owned(),
        "--zones".to_owned(),
        text(&zones),
        "--data".to_owned(),
        text(&data),
        "--listen".to_owned(),
        format!("{address}:53"),
        "--store".to_owned(),
        store.to_owned(),
        "--config".to_owned(),
        text(&config),
    ];
    let name = format!("replica-{number}");
    let process = Process::new(name, namespace, PARAMD, arguments, directory.join("log"));
    (process.with_environment(environment.to_vec()), clock)
}
