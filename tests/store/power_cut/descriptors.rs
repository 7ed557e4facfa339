//! The file descriptors of a process, and their positions.

use std::collections::HashMap;

use super::{history::Node, strace::Call};

/// An open file, to which several descriptors may refer.
pub struct Open {
    pub node: Node,
    pub position: u64,
    pub appends: bool,
}

#[derive(Default)]
pub struct Descriptors {
    open: Vec<Open>,
    numbers: HashMap<i64, usize>,
}

impl Descriptors {
    pub fn get(&self, number: i64) -> Option<&Open> {
        self.numbers.get(&number).map(|place| &self.open[*place])
    }

    pub fn get_mut(&mut self, number: i64) -> Option<&mut Open> {
        let place = self.numbers.get(&number)?;
        self.open.get_mut(*place)
    }

    pub fn insert(&mut self, number: i64, node: Node, appends: bool) {
        self.numbers.insert(number, self.open.len());
        self.open.push(Open {
            node,
            position: 0,
            appends,
        });
    }

    pub fn close(&mut self, number: i64) {
        self.numbers.remove(&number);
    }

    /// `dup` and the like: the new descriptor refers to the same open file.
    pub fn copy(&mut self, call: &Call) {
        let place = self.numbers.get(&call.descriptor(0).0).copied();
        if let (Some(place), Some(number)) = (place, call.result) {
            self.numbers.insert(number, place);
        }
    }

    /// `lseek` returns the position, `read` the distance.
    pub fn advance(&mut self, call: &Call) {
        if let (Some(open), Some(result)) = (self.get_mut(call.descriptor(0).0), call.result) {
            match call.name.as_str() {
                "lseek" => open.position = result as u64,
                _ => open.position += result as u64,
            }
        }
    }
}
