//! The free numbers of a sequence, as ranges.

use imbl::OrdMap;

/// A set of numbers. Its size depends on the number of ranges, not of numbers, so
/// that a peer with a high number costs no more than one with a low number.
#[derive(Debug, Clone, Default)]
pub(super) struct FreeNumbers {
    /// The start of each range, and its exclusive end. No two ranges touch.
    ranges: OrdMap<u32, u32>,
}

impl FreeNumbers {
    /// All numbers from `start`, except for `u32::MAX`, which is never assigned.
    pub fn from(start: u32) -> Self {
        Self {
            ranges: OrdMap::unit(start, u32::MAX),
        }
    }

    /// The lowest number.
    pub fn lowest(&self) -> Option<u32> {
        self.ranges.get_min().map(|(start, _)| *start)
    }

    pub fn remove(&mut self, number: u32) {
        let Some((&start, &end)) = self.ranges.get_prev(&number) else {
            return;
        };
        if number >= end {
            return;
        }
        self.ranges.remove(&start);
        if start < number {
            self.ranges.insert(start, number);
        }
        if number + 1 < end {
            self.ranges.insert(number + 1, end);
        }
    }

    pub fn insert(&mut self, number: u32) {
        let before = self.ranges.get_prev(&number).map(|(s, e)| (*s, *e));
        if before.is_some_and(|(_, end)| number < end) {
            return;
        }
        let start = match before {
            Some((start, end)) if end == number => start,
            _ => number,
        };
        let after = number + 1;
        let end = self.ranges.remove(&after).unwrap_or(after);
        self.ranges.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::FreeNumbers;

    proptest! {
        /// The ranges behave like a set that contains each number.
        #[test]
        fn ranges_are_a_set(
            start in 0u32..5,
            steps in prop::collection::vec((any::<bool>(), 0u32..40), 0..200),
        ) {
            let mut free = FreeNumbers::from(start);
            let mut taken = BTreeSet::new();
            for (take, number) in steps {
                let number = number + start;
                if take {
                    free.remove(number);
                    taken.insert(number);
                } else {
                    free.insert(number);
                    taken.remove(&number);
                }
                let lowest = (start..).find(|number| !taken.contains(number));
                prop_assert_eq!(free.lowest(), lowest);
                let ranges: Vec<_> = free.ranges.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }

    #[test]
    fn the_last_number_is_never_assigned() {
        let mut free = FreeNumbers::from(u32::MAX - 1);
        assert_eq!(free.lowest(), Some(u32::MAX - 1));
        free.remove(u32::MAX - 1);
        assert_eq!(free.lowest(), None);
    }
}
