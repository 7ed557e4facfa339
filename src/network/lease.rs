//! A lease: the time for which a holder may stay silent.

use std::{
    fmt,
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A point in time: milliseconds on a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time span since an earlier time; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// A time that is earlier by a time span, or the first one.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(milliseconds))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(milliseconds))
    }
}

/// The time at which a peer was last heard, and whether its lease has ended since.
///
/// Both are in one atomic word, so that a heartbeat is one lock-free update that
/// cannot race with the end of the lease: either it comes first and renews the
/// lease, or it fails.
pub struct Lease(AtomicU64);

/// Set once the lease has ended: its holder left, or the lease expired.
const ENDED: u64 = 1 << 63;

/// Set if this service heard the holder at that time, and not another replica.
const HERE: u64 = 1 << 62;

/// The bits of the time.
const TIME: u64 = HERE - 1;

impl Lease {
    /// A lease that starts at `now`.
    pub fn granted(now: Time) -> Self {
        Self(AtomicU64::new(now.0 | HERE))
    }

    /// A lease that is running, whose holder was heard at a time that this service does
    /// not know. It cannot be renewed here until that is known ([`hear`](Self::hear)).
    pub(super) fn unheard() -> Self {
        Self(AtomicU64::new(ENDED))
    }

    /// A lease that has ended, whose holder was last heard at this time.
    pub(super) fn ended(last_heard: Time) -> Self {
        Self(AtomicU64::new(last_heard.0 | ENDED))
    }

    /// The time at which the holder was last heard or the lease was granted.
    pub fn last_heard(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed) & TIME)
    }

    /// Whether this service heard the holder at this time or later.
    pub(super) fn was_heard_here(&self, since: Time) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & HERE != 0 && word & TIME >= since.0
    }

    /// Whether the lease, of the given duration, is running at `now`.
    pub fn is_running(&self, now: Time, duration: Duration) -> bool {
        Self::is_word_running(self.0.load(Ordering::Acquire), now, duration)
    }

    fn is_word_running(word: u64, now: Time, duration: Duration) -> bool {
        word & ENDED == 0 && now < Time(word & TIME) + duration
    }

    /// Renews a running lease. Returns `false`, without an effect, if it has ended.
    pub fn renew(&self, now: Time, duration: Duration) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                Self::is_word_running(word, now, duration).then(|| word.max(now.0 | HERE))
            })
            .is_ok()
    }

    /// Ends the lease if it has expired by `now`, and returns whether it has ended.
    /// Silence before `heard_since`, when the service did not listen, does not count.
    pub(super) fn expire(&self, now: Time, duration: Duration, heard_since: Time) -> bool {
        let has_listened = now >= heard_since + duration;
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let ends = has_listened && !Self::is_word_running(word, now, duration);
                (ends || word & ENDED != 0).then_some(word | ENDED)
            })
            .is_ok()
    }

    /// Ends the lease immediately.
    pub(super) fn end(&self) {
        self.0.fetch_or(ENDED, Ordering::AcqRel);
    }

    /// Notes that the holder of a running lease was heard at this time or later, by
    /// another service.
    pub(super) fn hear(&self, time: Time) {
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let is_later = word & TIME >= time.0;
                Some(if is_later { word & !ENDED } else { time.0 })
            });
    }

    /// Renews a lease that another replica has renewed, unless it has ended.
    pub(super) fn renew_reported(&self, now: Time) {
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & ENDED == 0 && word & TIME < now.0).then_some(now.0)
            });
    }

    /// Grants the lease again after its end.
    pub(super) fn grant(&self, now: Time) {
        self.0.store(now.0 & TIME | HERE, Ordering::Release);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.load(Ordering::Relaxed);
        f.debug_struct("Lease")
            .field("heard", &(word & TIME))
            .field("ended", &(word & ENDED != 0))
            .finish()
    }
}
