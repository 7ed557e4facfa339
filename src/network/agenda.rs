//! A set of numbers with one time each, indexed by number and by time.

use imbl::OrdSet;

use super::{Time, numbered::Numbered};

#[derive(Debug, Clone, Default)]
pub(super) struct Agenda {
    times: Numbered<Time>,
    order: OrdSet<(Time, u32)>,
}

impl Agenda {
    /// Sets the time of the number.
    pub fn insert(&mut self, number: u32, time: Time) {
        if let Some(previous) = self.times.insert(number, time) {
            self.order.remove(&(previous, number));
        }
        self.order.insert((time, number));
    }

    /// Removes the number and returns its time.
    pub fn remove(&mut self, number: u32) -> Option<Time> {
        let time = self.times.remove(number)?;
        self.order.remove(&(time, number));
        Some(time)
    }

    /// The time of the number.
    pub fn get(&self, number: u32) -> Option<Time> {
        self.times.get(number).copied()
    }

    pub fn contains(&self, number: u32) -> bool {
        self.times.contains(number)
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// The numbers that only one of the two has, in ascending order.
    pub fn differences(&self, other: &Self) -> Vec<u32> {
        self.times.differences(&other.times)
    }

    /// The earliest time and its number. Among equal times, the lowest number is
    /// first.
    pub fn first(&self) -> Option<(Time, u32)> {
        self.order.get_min().copied()
    }

    /// The numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.times.iter().map(|(number, _)| number)
    }
}
