//! Runs services, traces them, and lets their power fail.

use std::{
    cell::RefCell,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::{
    base::Base,
    check::{self, Fault},
    cut::{Cut, Names, disk_after},
    history::{History, LIVE},
    strace,
    workload::{Acknowledged, Traced},
};
use crate::common::{random::Random, run, simple_zone, zones};

/// The data directory, below the directory that represents the file system. The
/// service creates it and its parent.
pub const DATA: &str = "var/data";

/// The number of failures in each test.
const CUTS: usize = 60;

/// A file system in memory, so that no sync waits for a disk, with the files of a
/// running service and those that a failure leaves.
pub struct Lab {
    pub zones: TempDir,
    memory: TempDir,
    /// The test's name.
    name: &'static str,
    seed: u64,
    /// The output of strace, in order.
    traces: RefCell<Vec<String>>,
}

/// A number from the environment.
pub fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn cuts() -> usize {
    given("POWER_CUT_CUTS").map_or(CUTS, |it| it as usize)
}

impl Lab {
    pub fn new(name: &'static str) -> Self {
        let memory = tempfile::tempdir().unwrap();
        let path = memory.path().to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=1g", "tmpfs", path]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            zones: zones(&[("t.toml", &simple_zone("", "limit = 100000"))]),
            memory,
            name,
            seed: given("POWER_CUT_SEED").unwrap_or(now.as_nanos() as u64),
            traces: RefCell::default(),
        }
    }

    pub fn random(&self, number: usize) -> Random {
        Random::new(self.seed ^ (number as u64) << 40)
    }

    fn live(&self) -> PathBuf {
        self.memory.path().join("live")
    }

    pub fn data(&self) -> PathBuf {
        self.live().join(DATA)
    }

    /// A path for a file that no failure affects.
    pub fn file(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// Starts with these contents on disk.
    pub fn begin(&self, base: Base) -> History {
        base.write(&self.empty("live"));
        History::new(base)
    }

    /// Continues with a program that is traced to the given file, or with a kept
    /// trace.
    pub fn go_on(&self, history: &mut History, program: impl FnOnce(&Path) -> String) {
        let number = self.traces.borrow().len();
        let trace = match std::env::var("POWER_CUT_TRACES") {
            Ok(kept) => {
                let path = self.kept(Path::new(&kept), number);
                fs::read_to_string(&path).unwrap_or_else(|it| panic!("{}: {it}", path.display()))
            }
            Err(_) => strace::moved(&program(&self.file("trace")), &self.live(), LIVE),
        };
        history.add(&trace);
        self.traces.borrow_mut().push(trace);
    }

    /// Continues with a service, until `work` is done and the signal has ended
    /// it.
    pub fn serve(
        &self,
        history: &mut History,
        faults: &[&str],
        signal: &str,
        work: impl FnOnce(&Traced),
    ) {
        self.go_on(history, |trace| {
            let service = Traced::start(self.zones.path(), &self.data(), trace, faults);
            work(&service);
            service.end(signal)
        });
    }

    /// Lets the power fail repeatedly at some of these lines, and returns what
    /// was wrong afterwards. `change` may modify each failure.
    pub fn cut(
        &self,
        history: &History,
        lines: Range<usize>,
        acknowledged: &Acknowledged,
        change: impl Fn(&mut Cut),
    ) -> Vec<(Cut, Fault)> {
        let cuts = cuts();
        let mut faults = Vec::new();
        for number in 0..cuts {
            let mut random = self.random(number);
            let mut cut = Cut::random(history, lines.clone(), &mut random);
            change(&mut cut);
            let image = self.empty("image");
            disk_after(history, &cut, &mut random).write(&image);
            let mut acknowledged = acknowledged.clone();
            acknowledged.until(history, cut.line);
            if let Err(fault) = check::check(&image.join(DATA), &acknowledged) {
                faults.push((cut, fault));
            }
        }
        println!("{}: {cuts} cuts, {} faults", self.name, faults.len());
        faults
    }

    fn empty(&self, name: &str) -> PathBuf {
        let path = self.memory.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        path
    }

    fn kept(&self, directory: &Path, number: usize) -> PathBuf {
        directory.join(format!("{}-{number}.trace", self.name))
    }
}

/// The faults by the rules for names, with an example of each.
pub fn summary(faults: &[(Cut, Fault)]) -> String {
    let mut text = String::new();
    for names in [Names::Ordered, Names::Strict] {
        let mut those = faults.iter().filter(|(cut, _)| cut.names == names);
        if let Some((cut, fault)) = those.next() {
            let others = those.count();
            text += &format!("\n{others} and this one: {cut:?}: {fault}");
        }
    }
    text
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
            for (number, trace) in self.traces.borrow().iter().enumerate() {
                fs::write(self.kept(kept, number), trace).unwrap();
            }
            eprintln!(
                "again: POWER_CUT_SEED={} POWER_CUT_CUTS={} POWER_CUT_TRACES={} cargo test \
                 --test store {}",
                self.seed,
                cuts(),
                kept.display(),
                self.name
            );
        }
        run("umount", &["--lazy", self.memory.path().to_str().unwrap()]);
    }
}
