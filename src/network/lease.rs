//! A lease: the time for which its holder may stay silent.

use std::{
    fmt,
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A point in time: milliseconds on a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(milliseconds))
    }
}

/// When a peer was last heard, and whether its lease has ended since.
///
/// Both are stored in one atomic word, so that a heartbeat is a single store
/// without a lock that cannot race with the end of the lease: it either renews
/// the lease before it ends, or learns that it has ended.
pub struct Lease(AtomicU64);

/// Set when the lease has ended, because its holder left or because it expired.
const ENDED: u64 = 1 << 63;

impl Lease {
    /// A lease that was granted at `now`.
    pub fn granted(now: Time) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// When the holder was last heard, or the lease was granted.
    pub fn heard(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed) & !ENDED)
    }

    /// Whether a lease with the duration `lasting` is running at `now`.
    pub fn runs(&self, now: Time, lasting: Duration) -> bool {
        Self::is_running(self.0.load(Ordering::Acquire), now, lasting)
    }

    fn is_running(word: u64, now: Time, lasting: Duration) -> bool {
        word & ENDED == 0 && now < Time(word) + lasting
    }

    /// Renews a running lease. Returns `false`, and changes nothing, if it has
    /// ended.
    pub fn renew(&self, now: Time, lasting: Duration) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                Self::is_running(word, now, lasting).then(|| word.max(now.0))
            })
            .is_ok()
    }

    /// Ends the lease if it has expired by `now`. Returns whether it has ended.
    /// Silence before `heard_since`, when the service could not hear its peers,
    /// does not count.
    pub(super) fn expire(&self, now: Time, lasting: Duration, heard_since: Time) -> bool {
        let is_vouched_for = now >= heard_since + lasting;
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let ends = is_vouched_for && !Self::is_running(word, now, lasting);
                (ends || word & ENDED != 0).then_some(word | ENDED)
            })
            .is_ok()
    }

    /// Ends the lease immediately.
    pub(super) fn end(&self) {
        self.0.fetch_or(ENDED, Ordering::AcqRel);
    }

    /// Grants a new lease after the last one has ended.
    pub(super) fn grant(&self, now: Time) {
        self.0.store(now.0 & !ENDED, Ordering::Release);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.load(Ordering::Relaxed);
        f.debug_struct("Lease")
            .field("heard", &(word & !ENDED))
            .field("ended", &(word & ENDED != 0))
            .finish()
    }
}
