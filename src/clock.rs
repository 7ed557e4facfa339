//! The clock of the service, which also records whether the service could hear its
//! peers.
//!
//! A lease expires because its peer is silent. A service that stands still hears no
//! peer: it was stopped, the machine was suspended, or a thread did not get the
//! processor or waited for a disk. Silence during that time does not count. So every
//! receive loop, and the writer, ticks on each iteration ([`LoopTick`]), and before
//! leases expire, [`Clock::moment`] returns the time since which all of them have ticked
//! without a break.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::network::Time;

/// The maximum time between two ticks of a loop that hears its peers. Idle loops tick
/// every 100 ms.
pub const MAX_BREAK: Duration = Duration::from_secs(1);

/// Milliseconds since the start of the service, counted from 1. The clock is
/// monotonic, independent of the time of day, and includes the time for which the
/// machine is suspended (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Duration,
    /// The last tick of each running loop.
    loops: Mutex<Vec<Weak<AtomicU64>>>,
    heard_since: AtomicU64,
}

/// A time at which leases may be checked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Time,
    /// The time since which the service has heard its peers without a break; `now` if
    /// the break is not over yet.
    pub heard_since: Time,
}

/// The ticks of one loop; dropped when the loop ends.
#[derive(Debug)]
pub struct LoopTick {
    clock: Clock,
    last: Arc<AtomicU64>,
}

impl Clock {
    pub fn start() -> Self {
        Self::started_at(since_boot())
    }

    fn started_at(started: Duration) -> Self {
        Self(Arc::new(Shared {
            started,
            loops: Mutex::default(),
            heard_since: AtomicU64::new(0),
        }))
    }

    pub fn now(&self) -> Time {
        let elapsed = since_boot().saturating_sub(self.0.started);
        Time(1 + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX >> 1))
    }

    /// The current moment. The time is read before the ticks, so that a break in between
    /// cannot make peers appear to have been heard later than they were.
    pub fn moment(&self) -> Moment {
        let now = self.now();
        let mut loops = self.0.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|last| last.strong_count() > 0);
        for last in loops.iter().filter_map(Weak::upgrade) {
            self.record_break(last.load(Ordering::Acquire), now);
        }
        let heard_since = Time(self.0.heard_since.load(Ordering::Acquire));
        Moment { now, heard_since }
    }

    /// Registers a loop without which peers are not heard.
    pub fn register_loop(&self) -> LoopTick {
        let last = Arc::new(AtomicU64::new(self.now().0));
        let mut loops = self.0.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.push(Arc::downgrade(&last));
        LoopTick {
            clock: self.clone(),
            last,
        }
    }

    /// Records a break between two ticks of a loop, if there was one.
    fn record_break(&self, last: u64, now: Time) {
        let max = MAX_BREAK.as_millis() as u64;
        let elapsed = now.0.saturating_sub(last);
        if elapsed <= max {
            return;
        }
        let before = self.0.heard_since.fetch_max(now.0, Ordering::AcqRel);
        // Every loop notices the same break; log it once.
        if before + max < now.0 {
            let elapsed = humantime::format_duration(Duration::from_millis(elapsed));
            warn!("the service stood still for {elapsed}: every lease is extended by one lease");
        }
    }
}

impl LoopTick {
    /// Call this on each iteration, after the loop has waited.
    pub fn tick(&self) {
        let now = self.clock.now();
        self.clock
            .record_break(self.last.load(Ordering::Acquire), now);
        self.last.store(now.0, Ordering::Release);
    }
}

fn since_boot() -> Duration {
    // Linux has had this clock since 2.6.39.
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the last tick of a loop back.
    fn backdate(tick: &LoopTick, clock: &Clock, by: Duration) {
        let then = clock.now().0.saturating_sub(by.as_millis() as u64);
        tick.last.store(then, Ordering::Release);
    }

    /// A clock that was started an hour ago.
    fn old_clock() -> Clock {
        Clock::started_at(since_boot().saturating_sub(Duration::from_secs(3_600)))
    }

    #[test]
    fn a_break_that_lasts_is_seen_by_the_others() {
        let clock = old_clock();
        let (silent, busy) = (clock.register_loop(), clock.register_loop());
        backdate(&silent, &clock, Duration::from_secs(40));
        busy.tick();
        let moment = clock.moment();
        assert_eq!(moment.heard_since, moment.now);
    }

    #[test]
    fn a_break_that_is_over_is_remembered() {
        let clock = old_clock();
        let tick = clock.register_loop();
        backdate(&tick, &clock, Duration::from_secs(40));
        let before = clock.now();
        tick.tick();
        tick.tick();
        let heard_since = clock.moment().heard_since;
        assert!(before <= heard_since && heard_since <= clock.now());
    }

    #[test]
    fn a_loop_that_ticks_has_no_break_and_one_that_has_ended_is_not_missed() {
        let clock = old_clock();
        let (tick, ended) = (clock.register_loop(), clock.register_loop());
        backdate(&ended, &clock, Duration::from_secs(40));
        drop(ended);
        tick.tick();
        assert_eq!(clock.moment().heard_since, Time(0));
    }
}
