//! Runs of the script, each in a directory of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::responder::{HOST, MINE};

pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/start_peer.sh");

/// What the script finds in an image: Debian's tools, or those of a minimal one.
#[derive(Clone, Copy, PartialEq)]
pub enum Shell {
    Dash,
    Busybox,
}

/// A directory with the tools of a minimal image. Its env(1) would not give the
/// peer SIGINT back, so that one stays Debian's.
static APPLETS: LazyLock<String> = LazyLock::new(|| {
    let dir = format!("{}/applets", env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).unwrap();
    let busybox = found("busybox");
    for applet in "awk cat date grep mktemp rm sed sh sleep uname".split(' ') {
        let link = format!("{dir}/{applet}");
        let _ = fs::remove_file(&link);
        symlink(&busybox, link).unwrap();
    }
    dir
});

impl Shell {
    /// Where the script finds its tools, `first` before all others.
    pub fn path(self, first: Option<&Path>) -> String {
        let mut folders: Vec<String> = first.iter().map(|dir| dir.display().to_string()).collect();
        if self == Self::Busybox {
            folders.push(APPLETS.clone());
        }
        folders.push(std::env::var("PATH").unwrap());
        folders.join(":")
    }

    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Dash => &["dash", SCRIPT],
            Self::Busybox => &["busybox", "sh", SCRIPT],
        }
    }
}

/// The file that a program's name stands for.
pub fn found(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    let mut files = path.split(':').map(|dir| Path::new(dir).join(program));
    let file = files.find(|file| file.exists());
    file.unwrap_or_else(|| panic!("{program} is missing: see scripts/test"))
}

/// A folder with one executable script, which may name the real program as
/// `REAL`.
pub fn fake(program: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(program);
    let real = found(program).display().to_string();
    fs::write(
        &file,
        format!("#!/bin/sh\n{}\n", text.replace("REAL", &real)),
    )
    .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A run, with its output in files.
pub struct Script {
    child: Child,
    pub started: Instant,
    pub path: String,
    pub dir: TempDir,
}

impl Script {
    /// Runs `peer` in place of a peer, and renews its lease all the time.
    pub fn start(shell: Shell, port: u16, peer: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_among(shell, None, port, peer, settings)
    }

    /// The same with a folder of tools that come before the others.
    pub fn start_among(
        shell: Shell,
        tools: Option<&TempDir>,
        port: u16,
        peer: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_with(shell, tools, ("127.0.0.1", port), peer, settings)
    }

    /// The same with other servers, at one port.
    pub fn start_with(
        shell: Shell,
        tools: Option<&TempDir>,
        (servers, port): (&str, u16),
        peer: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut all = vec![("PARAM_EXEC", peer), ("PARAM_RENEW", "0")];
        all.extend(settings);
        let arguments = [servers, &port.to_string()];
        Self::run_among(shell, tools.map(TempDir::path), &arguments, &all)
    }

    pub fn run(shell: Shell, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::run_among(shell, None, arguments, settings)
    }

    /// The same with a folder of tools that come before the others.
    pub fn run_among(
        shell: Shell,
        tools: Option<&Path>,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let path = shell.path(tools);
        let dir = tempfile::tempdir().unwrap();
        let file = |name| fs::File::create(dir.path().join(name)).unwrap();
        // A test run may itself be a job that has signals ignored; no script can
        // undo that.
        let child = Command::new("env")
            .arg("--default-signal")
            .args([shell.command(), arguments].concat())
            .env_clear()
            .envs([
                ("PATH", &*path),
                ("PARAM_HOST", HOST),
                ("PARAM_ADDRESS", MINE),
                ("PARAM_TOOLS", "/nowhere"),
            ])
            .envs(settings.iter().copied())
            .current_dir(&dir)
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("env is missing");
        Self {
            child,
            started: Instant::now(),
            path,
            dir,
        }
    }

    pub fn has(&self, file: &str) -> bool {
        self.dir.path().join(file).exists()
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir.path().join(file)).unwrap_or_default()
    }

    pub fn said(&self, text: &str) -> usize {
        self.read("err").matches(text).count()
    }

    pub fn end(&mut self) -> Option<i32> {
        until("the script ends", || {
            self.child.try_wait().unwrap().is_some()
        });
        self.child.wait().unwrap().code()
    }

    /// The process ID of the peer, once it runs.
    pub fn peer(&self) -> String {
        until("the peer runs", || self.read("pid").ends_with('\n'));
        self.read("pid").trim().to_owned()
    }

    /// The process ID of the script.
    pub fn id(&self) -> String {
        self.child.id().to_string()
    }

    pub fn kill(&self, signal: &str) {
        kill(signal, &self.id());
    }

    /// The open files of all processes that are its output.
    pub fn writers(&self) -> usize {
        self.outputs().len()
    }

    /// Stops the script, its peer and whatever else writes to its output, like
    /// `docker pause`.
    pub fn freeze(&self) {
        until("all stand still", || {
            let moving = |process: &String| {
                let status = fs::read_to_string(format!("/proc/{process}/status"));
                status.is_ok_and(|status| !status.contains("State:\tT"))
            };
            let moving: Vec<_> = self.processes().into_iter().filter(moving).collect();
            for process in &moving {
                attempt("STOP", process);
            }
            moving.is_empty()
        });
    }

    pub fn thaw(&self) {
        for process in self.processes() {
            attempt("CONT", &process);
        }
    }

    fn processes(&self) -> BTreeSet<String> {
        let process = |file: PathBuf| file.iter().nth(2).unwrap().to_str().unwrap().to_owned();
        self.outputs().into_iter().map(process).collect()
    }

    /// As `/proc/PROCESS/fd/NUMBER`.
    fn outputs(&self) -> Vec<PathBuf> {
        let open = |process: fs::DirEntry| fs::read_dir(process.path().join("fd")).ok();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let files = processes.filter_map(open).flatten().flatten();
        let writes =
            |file: &PathBuf| fs::read_link(file).is_ok_and(|target| target.starts_with(&self.dir));
        files.map(|file| file.path()).filter(writes).collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(signal: &str, process: &str) {
    assert!(attempt(signal, process), "no process {process}");
}

/// Whether the process was there.
fn attempt(signal: &str, process: &str) -> bool {
    let command = format!("kill -s {signal} {process}");
    let output = Command::new("sh").args(["-c", &command]).output();
    output.unwrap().status.success()
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < seconds(20), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
