//! A rate limit with a burst for each of any number of keys, in constant memory and
//! without a lock.

use std::{
    hash::{Hash, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use siphasher::sip::SipHasher13;

use crate::{network::Time, server::config::secret::Secret};

/// The number of cells in a row. With 8 bytes each, the two rows take 1 MiB.
const CELLS: usize = 1 << 16;

/// A rate limit for each key: the generic cell rate algorithm (GCRA, ITU-T I.371)
/// over a count-min sketch.
///
/// A key has one cell in each of two rows. A cell contains the theoretical arrival
/// time of GCRA in nanoseconds: the time at which all tokens taken from it are
/// replenished. Keys may share a cell, which may therefore be further ahead than one
/// of its keys has caused. The lesser of a key's two cells is closer to the true
/// value and never below it, since taking a token raises both cells to the new value
/// of the lesser and lowers neither. So no key ever exceeds its rate, and a key gets
/// less than its rate only if other keys have raised both of its cells. Nobody can
/// choose such keys, since the hash is keyed with a secret.
pub struct Rate {
    rows: [Box<[AtomicU64]>; 2],
    secret: Secret,
    /// The time in which one token is replenished, in nanoseconds.
    interval: u64,
    /// How far ahead of the current time a cell may be when a token is taken, in
    /// nanoseconds.
    tolerance: u64,
}

/// A token that was taken, and can be refunded.
#[derive(Debug)]
#[must_use]
pub struct Token {
    /// The index of the cell in each row, and by how much it was raised.
    raised: [(usize, u64); 2],
}

impl Rate {
    /// Allows `burst` at once, at least one, and one more after each `interval`.
    pub fn new(secret: Secret, burst: u32, interval: Duration) -> Self {
        Self::with_cells(CELLS, secret, burst, interval)
    }

    fn with_cells(cells: usize, secret: Secret, burst: u32, interval: Duration) -> Self {
        let row = || (0..cells).map(|_| AtomicU64::new(0)).collect();
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            rows: [row(), row()],
            secret,
            interval,
            tolerance: interval.saturating_mul(u64::from(burst.saturating_sub(1))),
        }
    }

    /// Takes a token for the key, if the rate allows it.
    ///
    /// Two threads that take a token for one key at the same moment may get the same
    /// one, so that at most twice the rate is allowed.
    pub fn take(&self, key: &impl Hash, now: Time) -> Option<Token> {
        let now = now.0.saturating_mul(1_000_000);
        let cells = self.cells_of(key);
        let [first, second] = [0, 1].map(|row| &self.rows[row][cells[row]]);
        loop {
            let values = [first, second].map(|cell| cell.load(Ordering::Relaxed));
            let least = values[0].min(values[1]).max(now);
            if least - now > self.tolerance {
                return None;
            }
            let raised = least.saturating_add(self.interval);
            // The lesser cell decides, so that one must not have changed.
            let is_first = values[0] <= values[1];
            let (lesser, other, value) = if is_first {
                (first, second, values[0])
            } else {
                (second, first, values[1])
            };
            if lesser
                .compare_exchange_weak(value, raised, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            let before = other.fetch_max(raised, Ordering::Relaxed);
            // A cell that was behind the current time has replenished the rest.
            let by = |before: u64| raised.saturating_sub(before).min(self.interval);
            let raised = if is_first {
                [by(value), by(before)]
            } else {
                [by(before), by(value)]
            };
            return Some(Token {
                raised: [(cells[0], raised[0]), (cells[1], raised[1])],
            });
        }
    }

    /// Refunds a token, as if it had not been taken. A key that has raised a shared
    /// cell in the meantime may gain this token.
    pub fn refund(&self, token: Token) {
        for (row, (cell, by)) in self.rows.iter().zip(token.raised) {
            row[cell].fetch_sub(by, Ordering::Relaxed);
        }
    }

    /// The index of the key's cell in each row: two independent parts of one hash.
    fn cells_of(&self, key: &impl Hash) -> [usize; 2] {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        key.hash(&mut hasher);
        let hash = hasher.finish();
        [hash as u32, (hash >> 32) as u32].map(|part| part as usize % self.rows[0].len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: Secret = *b"0123456789abcdef";
    const INTERVAL: Duration = Duration::from_millis(10);

    /// The steps of a history: the pause before a step, the key that takes a token,
    /// and whether the token is refunded at once.
    fn steps(keys: u8) -> impl Strategy<Value = Vec<(u64, u8, bool)>> {
        let pause = prop_oneof![4 => Just(0u64), 4 => 1u64..30, 1 => 100u64..1_000];
        let step = (pause, 0..keys, prop::bool::weighted(0.2));
        prop::collection::vec(step, 1..300)
    }

    /// Returns whether one more token at `now` would exceed `burst`, and one for each
    /// `INTERVAL`, in the time since any of those taken.
    fn is_too_much(taken: &[u64], now: u64, burst: u32) -> bool {
        (0..taken.len()).any(|first| {
            let others = (taken.len() - first) as u64;
            others * 10 > (u64::from(burst) - 1) * 10 + (now - taken[first])
        })
    }

    proptest! {
        /// A key with cells of its own is limited when it exceeds the rate, and only then.
        #[test]
        fn a_key_that_is_alone_has_its_rate_exactly(steps in steps(1), burst in 1u32..12) {
            let rate = Rate::new(SECRET, burst, INTERVAL);
            let (mut now, mut taken) = (1, Vec::new());
            for (pause, key, is_refunded) in steps {
                now += pause;
                match rate.take(&key, Time(now)) {
                    Some(token) if is_refunded => rate.refund(token),
                    Some(_) => {
                        prop_assert!(!is_too_much(&taken, now, burst), "{taken:?} {now}");
                        taken.push(now);
                    }
                    None => prop_assert!(is_too_much(&taken, now, burst), "{taken:?} {now}"),
                }
            }
        }

        /// No key gains by shared cells.
        #[test]
        fn no_key_is_ever_allowed_too_much(steps in steps(20), burst in 1u32..12) {
            let rate = Rate::with_cells(4, SECRET, burst, INTERVAL);
            let (mut now, mut taken) = (1, vec![Vec::new(); 20]);
            for (pause, key, _) in steps {
                now += pause;
                if rate.take(&key, Time(now)).is_some() {
                    let taken = &mut taken[usize::from(key)];
                    prop_assert!(!is_too_much(taken, now, burst), "{taken:?} {now}");
                    taken.push(now);
                }
            }
        }

        /// A key that shares one cell with a flood is not affected by it, and does
        /// not affect it.
        #[test]
        fn a_shared_cell_alone_limits_nobody(burst in 1u32..50, key in any::<u32>()) {
            let rate = Rate::with_cells(64, SECRET, burst, INTERVAL);
            let own = rate.cells_of(&key);
            let floods = (0u32..).filter(|other| {
                let cells = rate.cells_of(other);
                (cells[0] == own[0]) != (cells[1] == own[1])
            });
            let flood = floods.into_iter().next().unwrap();
            while rate.take(&flood, Time(1)).is_some() {}
            let allowed = (0..burst + 5).filter(|_| rate.take(&key, Time(1)).is_some());
            prop_assert_eq!(allowed.count(), burst as usize);
        }
    }
}
