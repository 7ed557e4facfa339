//! What the writer knows of the heartbeats that other replicas answer.

use std::time::Duration;

use param_daemon::{
    network::Time,
    registry::{Coverage, Reporter, Vouching},
};

const HOLD: Duration = Duration::from_secs(10);

fn heard(coverage: &Coverage, now: u64) -> (u64, u64) {
    let heard = coverage.heard(Time(now));
    (heard.until.0, heard.since.0)
}

fn report(coverage: &Coverage, name: &str, run: u64, now: u64) -> Option<Time> {
    let from = Reporter {
        identity: name,
        name,
        run,
        connection: 1,
        commit: now,
    };
    coverage.report(&from, Time(now)).unwrap()
}

#[test]
fn a_commit_is_confirmed_when_all_have_it() {
    let coverage = Coverage::new(HOLD, Time(0));
    assert_eq!(coverage.confirmed(Time(1_000)), Some(0));
    assert_eq!(coverage.confirmed(Time(20_000)), None);
    report(&coverage, "a", 1, 21_000);
    report(&coverage, "b", 1, 22_000);
    assert_eq!(coverage.confirmed(Time(22_000)), Some(21_000));
    // One of them is forgotten.
    assert_eq!(coverage.confirmed(Time(31_500)), Some(22_000));
}

#[test]
fn replicas_of_an_earlier_writer_are_waited_for() {
    let coverage = Coverage::new(HOLD, Time(1_000));
    assert_eq!(heard(&coverage, 5_000), (1_000, 1_000));
    assert_eq!(heard(&coverage, 11_199), (1_000, 1_000));
    assert_eq!(heard(&coverage, 11_200), (11_200, 11_200));
    assert_eq!(heard(&coverage, 30_000), (30_000, 11_200));
}

#[test]
fn a_report_covers_what_was_before_the_last_acknowledgement() {
    let coverage = Coverage::new(HOLD, Time(0));
    heard(&coverage, 20_000);
    assert_eq!(report(&coverage, "a", 1, 21_000), None);
    assert_eq!(heard(&coverage, 21_500).0, 21_000);
    let before = report(&coverage, "a", 1, 22_000);
    assert_eq!(before, Some(Time(21_000)));
    assert_eq!(heard(&coverage, 22_500).0, 21_000);
    report(&coverage, "b", 1, 22_700);
    report(&coverage, "a", 1, 23_000);
    assert_eq!(heard(&coverage, 23_500).0, 22_000);
    coverage.leave("a", 1);
    assert_eq!(heard(&coverage, 23_500).0, 22_700);
}

#[test]
fn leases_are_extended_when_a_replica_is_lost_or_starts_again() {
    let coverage = Coverage::new(HOLD, Time(0));
    heard(&coverage, 20_000);
    report(&coverage, "a", 1, 21_000);
    let (until, since) = heard(&coverage, 31_199);
    assert_eq!(until, 21_000);
    assert!(since < 21_000);
    assert_eq!(heard(&coverage, 31_200), (31_200, 31_200));
    report(&coverage, "a", 2, 32_000);
    report(&coverage, "a", 3, 33_000);
    assert_eq!(heard(&coverage, 33_100), (33_000, 33_000));
    coverage.stood_still(Time(34_000));
    assert_eq!(heard(&coverage, 34_100).1, 34_000);
}

#[test]
fn a_service_without_replicas_always_vouches() {
    assert!(Vouching::always().is_valid(Time(u64::MAX - 1)));
    let vouching = Vouching::not_yet();
    assert!(!vouching.is_valid(Time(1)));
    vouching.extend(Time(5));
    vouching.extend(Time(3));
    assert!(vouching.is_valid(Time(4)));
    assert!(!vouching.is_valid(Time(5)));
}
