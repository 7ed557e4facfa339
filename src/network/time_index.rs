//! Numbers with a time each, by number and in order of time.

use imbl::OrdSet;

use super::{Time, number_map::NumberMap};

#[derive(Debug, Clone, Default)]
pub(super) struct TimeIndex {
    times: NumberMap<Time>,
    order: OrdSet<(Time, u32)>,
}

impl TimeIndex {
    /// Sets the time of a number.
    pub fn insert(&mut self, number: u32, time: Time) {
        if let Some(earlier) = self.times.insert(number, time) {
            self.order.remove(&(earlier, number));
        }
        self.order.insert((time, number));
    }

    /// Removes a number, and returns its time.
    pub fn remove(&mut self, number: u32) -> Option<Time> {
        let time = self.times.remove(number)?;
        self.order.remove(&(time, number));
        Some(time)
    }

    pub fn contains(&self, number: u32) -> bool {
        self.times.contains(number)
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// The earliest time and its number; among equal times, the lowest number.
    pub fn first(&self) -> Option<(Time, u32)> {
        self.order.get_min().copied()
    }

    /// The numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.times.iter().map(|(number, _)| number)
    }
}
