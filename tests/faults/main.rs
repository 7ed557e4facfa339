//! The replicated service under faults: three members of etcd and three replicas, each
//! in a network namespace of its own, lose processes, links, disks and clocks at random
//! while clients register, leave, take over and read. Every query and its answer is
//! recorded, and the history is checked when everything is healed.
//!
//! `FAULT_SECONDS` is how long that lasts (180), and `FAULT_SEED` repeats the choices of
//! an earlier run; the processes need not do the same. With `FAULT_KEEP`, the history
//! and the logs are kept even if nothing is wrong with them. `scripts/test-faults` runs
//! it by hand, for longer.
//!
//! | file | contents |
//! | --- | --- |
//! | `cluster` | namespaces, members, replicas, links |
//! | `faults`, `rounds` | what can be broken, and when it is |
//! | `clients` | what is asked |
//! | `history`, `recorder` | what happened |
//! | `checker` | whether that keeps the law |
//! | `report` | what is printed |
//! | `run` | all of it together |

#![cfg(feature = "etcd")]

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod clients;
mod cluster;
mod faults;
mod history;
mod recorder;
mod report;
mod rounds;
mod run;

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use checker::{Finding, Rule};
use run::Mode;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok();
    given.map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// Runs, prints the summary, and returns the violations.
fn violations_of(mode: Mode, default_seconds: u64) -> Vec<Finding> {
    let seconds = setting("FAULT_SECONDS").unwrap_or(default_seconds);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting("FAULT_SEED").unwrap_or(now.as_nanos() as u64);
    println!("faults for {seconds} s; again with the same choices: FAULT_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let history = run::run(mode, Duration::from_secs(seconds), seed, directory.path());
    let findings = checker::check(&history, &run::law());
    println!("seed {seed}, {:.1} minutes", seconds as f64 / 60.0);
    print!("{}", report::summary(&history, &findings));
    let lag = checker::longest_lag(&history, &run::law());
    println!(
        "the oldest state of a replica that was not cut off: {} s",
        history::seconds(lag)
    );
    let violations: Vec<Finding> = findings.into_iter().filter(|it| it.rule.is_law()).collect();
    print!("{}", report::violations(&history, &violations));
    // With a law that is broken on purpose, nobody looks for the reason.
    let is_of_interest = mode == Mode::Faults && !violations.is_empty();
    if is_of_interest || std::env::var_os("FAULT_KEEP").is_some() {
        let directory = directory.keep();
        let path = directory.join("history");
        fs::write(&path, report::lines(&history)).unwrap();
        println!("the history is {}, beside the logs", path.display());
    }
    violations
}

/// Without the compare of the leader key, which a build with the feature
/// `broken-for-tests` leaves out, this must notice that the law is broken: it is the
/// proof that the test can fail.
#[test]
fn the_law_is_kept_unless_it_is_broken_on_purpose() {
    if cfg!(feature = "broken-for-tests") {
        let violations = violations_of(Mode::Depose, 15);
        let mut rules = violations.iter().map(|it| it.rule);
        assert!(
            rules.any(|rule| rule == Rule::OneHolder),
            "two hosts with one ID"
        );
    } else {
        let violations = violations_of(Mode::Faults, 180);
        assert!(violations.is_empty(), "{} violations", violations.len());
    }
}
