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

/// When a peer was last heard, and whether its lease has been ended since.
///
/// Both live in one atomic word, so that a heartbeat is a single store that
/// takes no lock, and cannot race with the end of the lease: either it comes
/// before the end and prolongs the lease, or it is told that there is none.
pub struct Lease(AtomicU64);

/// Set when the lease was ended: by its holder, or because it ran out.
const ENDED: u64 = 1 << 63;

impl Lease {
    /// A lease that was renewed at `now`.
    pub fn granted(now: Time) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// When the holder was last heard, or the lease was granted.
    pub fn heard(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed) & !ENDED)
    }

    /// Whether the lease, `lasting` that long, runs at `now`.
    pub fn runs(&self, now: Time, lasting: Duration) -> bool {
        Self::word_runs(self.0.load(Ordering::Acquire), now, lasting)
    }

    fn word_runs(word: u64, now: Time, lasting: Duration) -> bool {
        word & ENDED == 0 && now < Time(word) + lasting
    }

    /// Renews a lease that runs; says `false`, and does nothing, where it has ended.
    pub fn renew(&self, now: Time, lasting: Duration) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                Self::word_runs(word, now, lasting).then(|| word.max(now.0))
            })
            .is_ok()
    }

    /// Ends the lease if it has run out by `now`; says whether it is ended. The
    /// silence before `heard_since`, when nobody listened, does not count.
    pub(super) fn expire(&self, now: Time, lasting: Duration, heard_since: Time) -> bool {
        let is_vouched_for = now >= heard_since + lasting;
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let ends = is_vouched_for && !Self::word_runs(word, now, lasting);
                (ends || word & ENDED != 0).then_some(word | ENDED)
            })
            .is_ok()
    }

    /// Ends the lease at once.
    pub(super) fn end(&self) {
        self.0.fetch_or(ENDED, Ordering::AcqRel);
    }

    /// Grants the lease anew, after it had ended.
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
