//! A rate limit for many keys: what a key gets, alone and beside others.

use std::time::Duration;

use param_daemon::{network::Time, server::policy::rate::Rate};

const SECRET: [u8; 16] = *b"0123456789abcdef";
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn the_limit_is_the_burst_and_then_the_rate() {
    let rate = Rate::new(SECRET, 5_000, Duration::from_millis(1));
    let taken = |now, tries| {
        let tries = 0..tries;
        tries.filter(|_| rate.take(&1, Time(now)).is_some()).count()
    };
    assert_eq!(taken(1, 6_000), 5_000);
    assert_eq!(taken(1, 1_000), 0);
    assert_eq!(taken(2, 1_000), 1);
    // A key that continues to ask still gets its rate.
    let later: usize = (3..1_003).map(|now| taken(now, 7)).sum();
    assert_eq!(later, 1_000);
    // A pause earns no more than the burst.
    assert_eq!(taken(10_000_000, 6_000), 5_000);
}

#[test]
fn a_refunded_token_can_be_taken_again() {
    let rate = Rate::new(SECRET, 3, Duration::from_secs(3_600));
    for now in 1..1_000 {
        let token = rate.take(&1, Time(now)).unwrap();
        rate.refund(token);
    }
    assert_eq!((0..9).filter_map(|_| rate.take(&1, Time(1_000))).count(), 3);
}

/// The share of 20,000 honest keys, which take one token each, that is limited
/// while `floods` others take all that they can.
fn limited_share(floods: u32) -> f64 {
    let rate = Rate::new(SECRET, 5, INTERVAL);
    for flood in 0..floods {
        while rate.take(&("flood", flood), Time(1)).is_some() {}
    }
    let honest = 0..20_000;
    let limited = honest.filter(|key| rate.take(&("honest", *key), Time(1)).is_none());
    limited.count() as f64 / 20_000.0
}

#[test]
fn while_many_flood_most_others_pass() {
    // The expected share is the square of the share of full cells.
    assert!(limited_share(1_000) < 0.002);
    assert!(limited_share(10_000) < 0.04);
}

#[test]
fn a_flood_that_is_spread_thin_limits_nobody() {
    let rate = Rate::new(SECRET, 5_000, Duration::from_millis(1));
    for forged in 0..1_000_000 {
        assert!(rate.take(&forged, Time(1)).is_some(), "{forged}");
    }
}

#[test]
fn threads_that_race_share_one_rate() {
    const BURST: usize = 1_000;
    let rate = Rate::new(SECRET, BURST as u32, INTERVAL);
    let take_all = || (0..BURST).filter_map(|_| rate.take(&1, Time(1))).count();
    let taken: usize = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(take_all));
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert!((BURST..=2 * BURST).contains(&taken), "{taken}");
    assert!(rate.take(&1, Time(1)).is_none());
}

#[test]
fn no_time_and_no_rate_overflows() {
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        for burst in [0, 1, u32::MAX] {
            let rate = Rate::new(SECRET, burst, interval);
            for now in [0, 1, u64::MAX - 1, u64::MAX] {
                if let Some(token) = rate.take(&1, Time(now)) {
                    rate.refund(token);
                }
            }
        }
    }
}
