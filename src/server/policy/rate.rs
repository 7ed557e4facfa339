//! So many at once, and then so many a second, for each of any number of keys:
//! in memory that never grows, without a lock.

use std::{
    hash::{Hash, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use siphasher::sip::SipHasher13;

use crate::{network::Time, server::config::secret::Secret};

/// How many cells a row has. With 8 octets each, the two rows take 1 MiB.
const CELLS: usize = 1 << 16;

/// A rate for each key.
///
/// A key has one cell in each of two rows. A cell has the time at which all that
/// was taken from it will have been made good at the allowed rate (the
/// theoretical arrival time of GCRA, ITU-T I.371), in nanoseconds. Keys may
/// share a cell, so it may be further ahead than a key of it has caused. The
/// lesser of a key's two cells is therefore nearer to the truth, and never
/// below: whoever takes raises both to what the lesser becomes, and lowers none.
/// So no key is ever allowed too much; and one is allowed too little only if
/// both of its cells are held up by others. Nobody can choose such keys, since
/// the hash has a secret.
pub struct Rate {
    rows: [Box<[AtomicU64]>; 2],
    secret: Secret,
    /// How long it takes until one more is allowed, in nanoseconds.
    each: u64,
    /// How far ahead of the time a cell may be when one more is taken.
    ahead: u64,
}

/// One that was taken, to be given back perhaps.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    /// The cells, and by how much they were raised.
    raised: [(usize, u64); 2],
}

impl Rate {
    /// Allows `burst` at once, at least one, and one more each time that `each`
    /// has passed.
    pub fn new(secret: Secret, burst: u32, each: Duration) -> Self {
        Self::with_cells(CELLS, secret, burst, each)
    }

    fn with_cells(cells: usize, secret: Secret, burst: u32, each: Duration) -> Self {
        let row = || (0..cells).map(|_| AtomicU64::new(0)).collect();
        let each = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX);
        Self {
            rows: [row(), row()],
            secret,
            each,
            ahead: each.saturating_mul(u64::from(burst.saturating_sub(1))),
        }
    }

    /// Takes one for the key, if that is within the rate.
    ///
    /// Of threads that take for one key in the very same moment, two may be
    /// given the same one; so the most that can ever be taken is twice as much.
    pub fn take(&self, key: &impl Hash, now: Time) -> Option<Taken> {
        let now = now.0.saturating_mul(1_000_000);
        let places = self.places(key);
        let [first, second] = [0, 1].map(|row| &self.rows[row][places[row]]);
        loop {
            let seen = [first, second].map(|cell| cell.load(Ordering::Relaxed));
            let least = seen[0].min(seen[1]).max(now);
            if least - now > self.ahead {
                return None;
            }
            let raised = least.saturating_add(self.each);
            // The lesser cell decides, so that is the one to be sure of.
            let (lesser, other, seen) = match seen[0] <= seen[1] {
                true => (first, second, seen[0]),
                false => (second, first, seen[1]),
            };
            if lesser
                .compare_exchange_weak(seen, raised, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            let before = other.fetch_max(raised, Ordering::Relaxed);
            // What was idle before it was raised has made good for itself.
            let by = |before: u64| raised.saturating_sub(before).min(self.each);
            let raised = match std::ptr::eq(lesser, first) {
                true => [by(seen), by(before)],
                false => [by(before), by(seen)],
            };
            return Some(Taken {
                raised: [(places[0], raised[0]), (places[1], raised[1])],
            });
        }
    }

    /// Gives one back, as if it had not been taken. A key that has raised a shared
    /// cell meanwhile may gain that one.
    pub fn give_back(&self, taken: Taken) {
        for (row, (place, by)) in self.rows.iter().zip(taken.raised) {
            row[place].fetch_sub(by, Ordering::Relaxed);
        }
    }

    /// The key's cell in each row: two parts of one hash, which know nothing of
    /// each other.
    fn places(&self, key: &impl Hash) -> [usize; 2] {
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
    const EACH: Duration = Duration::from_millis(10);

    /// A step of a history: how long it is until then, who takes, and whether
    /// that is given back at once.
    fn steps(keys: u8) -> impl Strategy<Value = Vec<(u64, u8, bool)>> {
        let pause = prop_oneof![4 => Just(0u64), 4 => 1u64..30, 1 => 100u64..1_000];
        let step = (pause, 0..keys, prop::bool::weighted(0.2));
        prop::collection::vec(step, 1..300)
    }

    /// Whether one more at `now` would be more than `burst`, and one each
    /// `EACH`, in the span since any of those that were taken.
    fn is_too_much(taken: &[u64], now: u64, burst: u32) -> bool {
        (0..taken.len()).any(|first| {
            let others = (taken.len() - first) as u64;
            others * 10 > (u64::from(burst) - 1) * 10 + (now - taken[first])
        })
    }

    proptest! {
        /// Alone, a key is limited when it is over the rate, and only then.
        #[test]
        fn a_key_that_is_alone_has_its_rate_exactly(steps in steps(1), burst in 1u32..12) {
            let rate = Rate::new(SECRET, burst, EACH);
            let (mut now, mut taken) = (1, Vec::new());
            for (pause, key, gives_back) in steps {
                now += pause;
                match rate.take(&key, Time(now)) {
                    Some(token) if gives_back => rate.give_back(token),
                    Some(_) => {
                        prop_assert!(!is_too_much(&taken, now, burst), "{taken:?} {now}");
                        taken.push(now);
                    }
                    None => prop_assert!(is_too_much(&taken, now, burst), "{taken:?} {now}"),
                }
            }
        }

        /// However the cells are shared, nobody gains by it.
        #[test]
        fn no_key_is_ever_allowed_too_much(steps in steps(20), burst in 1u32..12) {
            let rate = Rate::with_cells(4, SECRET, burst, EACH);
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

        /// Who shares one cell with a flood is not touched by it, and does not
        /// touch it.
        #[test]
        fn a_shared_cell_alone_limits_nobody(burst in 1u32..50, key in any::<u32>()) {
            let rate = Rate::with_cells(64, SECRET, burst, EACH);
            let own = rate.places(&key);
            let floods = (0u32..).filter(|other| {
                let places = rate.places(other);
                (places[0] == own[0]) != (places[1] == own[1])
            });
            let flood = floods.into_iter().next().unwrap();
            while rate.take(&flood, Time(1)).is_some() {}
            let allowed = (0..burst + 5).filter(|_| rate.take(&key, Time(1)).is_some());
            prop_assert_eq!(allowed.count(), burst as usize);
        }
    }

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
        // Who goes on asking has the rate nevertheless.
        let later: usize = (3..1_003).map(|now| taken(now, 7)).sum();
        assert_eq!(later, 1_000);
        // Silence earns no more than the burst.
        assert_eq!(taken(10_000_000, 6_000), 5_000);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(SECRET, 3, Duration::from_secs(3_600));
        for now in 1..1_000 {
            let token = rate.take(&1, Time(now)).unwrap();
            rate.give_back(token);
        }
        assert_eq!((0..9).filter_map(|_| rate.take(&1, Time(1_000))).count(), 3);
    }

    /// The share of 20,000 honest keys, who take once each, that is limited
    /// while so many others take all they can.
    fn limited_share(floods: u32) -> f64 {
        let rate = Rate::new(SECRET, 5, EACH);
        for flood in 0..floods {
            while rate.take(&("flood", flood), Time(1)).is_some() {}
        }
        let honest = 0..20_000;
        let limited = honest.filter(|key| rate.take(&("honest", *key), Time(1)).is_none());
        limited.count() as f64 / 20_000.0
    }

    #[test]
    fn while_many_flood_most_others_pass() {
        // By chance: the square of the share of the cells that are full.
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
        let rate = Rate::new(SECRET, BURST as u32, EACH);
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
        for each in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for burst in [0, 1, u32::MAX] {
                let rate = Rate::new(SECRET, burst, each);
                for now in [0, 1, u64::MAX - 1, u64::MAX] {
                    if let Some(token) = rate.take(&1, Time(now)) {
                        rate.give_back(token);
                    }
                }
            }
        }
    }
}
