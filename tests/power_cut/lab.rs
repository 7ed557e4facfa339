//! Where services run, are traced and have their power cut.

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
    random::Random,
    strace,
    workload::{Acknowledged, Traced},
};
use crate::common::{run, simple_zone, zones};

/// The data directory, below the one that stands for the file system: the
/// service makes it, and the one above it.
pub const DATA: &str = "var/data";

/// How often the power is cut in each test.
const CUTS: usize = 60;

/// A file system in memory, so that no sync waits for a disk, with the files of
/// a service that runs and those that are left after a cut.
pub struct Lab {
    pub zones: TempDir,
    memory: TempDir,
    /// The test's name.
    name: &'static str,
    seed: u64,
    /// What strace has written, in turn.
    traces: RefCell<Vec<String>>,
}

/// A number that can be given in the environment.
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

    /// Where a command may leave or find a file that no cut concerns.
    pub fn file(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// Begins with that on the disk.
    pub fn begin(&self, base: Base) -> History {
        base.write(&self.empty("live"));
        History::new(base)
    }

    /// Goes on with what a program does that is traced to the file that it is
    /// given, or with what a kept trace says that it did.
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

    /// Goes on with a service, until `work` is done and the signal has ended it.
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

    /// Cuts the power again and again, at some of these lines, and gives what was
    /// wrong afterwards. `change` may change the cut that was chosen.
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

/// The faults by the manner of names, with one of each.
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
                 --test power_cut {}",
                self.seed,
                cuts(),
                kept.display(),
                self.name
            );
        }
        run("umount", &["--lazy", self.memory.path().to_str().unwrap()]);
    }
}
