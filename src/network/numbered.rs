//! A map from the numbers of a sequence to values.

use std::{array, sync::Arc};

/// The number of children of a branch is two to this power. A change of one child
/// copies all of them, and touches each for it.
const BITS: u32 = 5;
const WIDTH: usize = 1 << BITS;

/// A persistent map from numbers (a radix tree): a clone shares everything that does
/// not change afterwards.
///
/// The numbers of a sequence are assigned lowest first, so they are dense, and a
/// number is the path to its value: five bits of it for each level of a tree that is
/// as high as the highest number needs. A lookup compares nothing, and with a million
/// peers all but its last step stays in the processor's cache; a tree of sorted keys
/// took seven steps through memory. A single value at a high number takes one node
/// for each level, at most seven.
///
/// `LEAF` is the number of contiguous values, a power of two. A large leaf suits small
/// values that are read often, since they occupy few pages of memory; but a change of
/// one value copies all of them.
#[derive(Debug, Clone)]
pub(super) struct Numbered<T, const LEAF: usize = WIDTH> {
    root: Option<Node<T, LEAF>>,
    /// The height of the tree.
    levels: u32,
    len: usize,
}

/// A node. Its kind is stored beside the pointer, so that a lookup reads nothing of a
/// leaf but the value.
#[derive(Debug, Clone)]
enum Node<T, const LEAF: usize> {
    Branch(Arc<[Option<Node<T, LEAF>>; WIDTH]>),
    Leaf(Arc<[Option<T>; LEAF]>),
}

impl<T, const LEAF: usize> Default for Numbered<T, LEAF> {
    fn default() -> Self {
        Self {
            root: None,
            levels: 1,
            len: 0,
        }
    }
}

impl<T, const LEAF: usize> Numbered<T, LEAF> {
    pub fn get(&self, number: u32) -> Option<&T> {
        self.slot(number)?.as_ref()
    }

    /// The slot of a number, without reading its value.
    pub fn slot(&self, number: u32) -> Option<&Option<T>> {
        if self.is_beyond(number) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.levels - 1;
        loop {
            match node {
                Node::Branch(children) => {
                    node = children[digit::<LEAF>(number, level)].as_ref()?;
                }
                Node::Leaf(values) => return Some(&values[digit::<LEAF>(number, 0)]),
            }
            level = level.saturating_sub(1);
        }
    }

    pub fn contains(&self, number: u32) -> bool {
        self.get(number).is_some()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// All values with their numbers, lowest number first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let (number, value) = self.at_or_after(from?)?;
            from = number.checked_add(1);
            Some((number, value))
        })
    }

    /// The numbers that have a value in only one of the two maps, in ascending order.
    /// What both share is skipped, so that this takes long only if much has changed.
    pub fn differences(&self, other: &Self) -> Vec<u32> {
        let mut numbers = Vec::new();
        if self.levels == other.levels {
            let level = self.levels - 1;
            Node::differences(
                self.root.as_ref(),
                other.root.as_ref(),
                0,
                level,
                &mut numbers,
            );
        } else {
            let only = |map: &Self, not_in: &Self, numbers: &mut Vec<u32>| {
                let all = map.iter().map(|(number, _)| number);
                numbers.extend(all.filter(|number| !not_in.contains(*number)));
            };
            only(self, other, &mut numbers);
            only(other, self, &mut numbers);
            numbers.sort_unstable();
        }
        numbers
    }

    /// The value at the number, or at the next number that has one.
    fn at_or_after(&self, number: u32) -> Option<(u32, &T)> {
        if self.is_beyond(number) {
            return None;
        }
        let root = self.root.as_ref()?;
        root.at_or_after(number, self.levels - 1)
    }

    /// Whether the tree is too low for the number.
    fn is_beyond(&self, number: u32) -> bool {
        u64::from(number) >> shift::<LEAF>(self.levels) > 0
    }
}

impl<T: Clone, const LEAF: usize> Numbered<T, LEAF> {
    /// Inserts a value at a number, and returns the previous one.
    pub fn insert(&mut self, number: u32, value: T) -> Option<T> {
        while self.is_beyond(number) {
            self.levels += 1;
            if let Some(root) = self.root.take() {
                let mut children = array::from_fn(|_| None);
                children[0] = Some(root);
                self.root = Some(Node::Branch(Arc::new(children)));
            }
        }
        let previous = insert(&mut self.root, number, value, self.levels - 1);
        self.len += usize::from(previous.is_none());
        previous
    }

    /// Removes the value at a number, and returns it.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        // A number without a value must not cost a copy of its path.
        if !self.contains(number) {
            return None;
        }
        let removed = remove(&mut self.root, number, self.levels - 1);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// The number of bits that the levels below this one use; leaves are level 0.
const fn shift<const LEAF: usize>(level: u32) -> u32 {
    match level {
        0 => 0,
        level => LEAF.ilog2() + BITS * (level - 1),
    }
}

/// The index of a number in a node of the level.
fn digit<const LEAF: usize>(number: u32, level: u32) -> usize {
    let width = if level == 0 { LEAF } else { WIDTH };
    (number >> shift::<LEAF>(level)) as usize % width
}

/// Inserts a value, and creates the nodes on its path.
fn insert<T: Clone, const LEAF: usize>(
    node: &mut Option<Node<T, LEAF>>,
    number: u32,
    value: T,
    level: u32,
) -> Option<T> {
    match node.get_or_insert_with(|| Node::empty(level)) {
        Node::Branch(children) => insert(
            &mut Arc::make_mut(children)[digit::<LEAF>(number, level)],
            number,
            value,
            level.saturating_sub(1),
        ),
        Node::Leaf(values) => Arc::make_mut(values)[digit::<LEAF>(number, 0)].replace(value),
    }
}

/// Removes a value, and the nodes that become empty.
fn remove<T: Clone, const LEAF: usize>(
    node: &mut Option<Node<T, LEAF>>,
    number: u32,
    level: u32,
) -> Option<T> {
    let (removed, is_empty) = match node.as_mut()? {
        Node::Branch(children) => {
            let children = Arc::make_mut(children);
            let child = &mut children[digit::<LEAF>(number, level)];
            let removed = remove(child, number, level.saturating_sub(1));
            (removed, children.iter().all(Option::is_none))
        }
        Node::Leaf(values) => {
            let values = Arc::make_mut(values);
            let removed = values[digit::<LEAF>(number, 0)].take();
            (removed, values.iter().all(Option::is_none))
        }
    };
    if is_empty {
        *node = None;
    }
    removed
}

impl<T, const LEAF: usize> Node<T, LEAF> {
    fn empty(level: u32) -> Self {
        match level {
            0 => Self::Leaf(Arc::new(array::from_fn(|_| None))),
            _ => Self::Branch(Arc::new(array::from_fn(|_| None))),
        }
    }

    /// Appends the numbers, starting with `first`, that only one of the nodes has.
    fn differences(
        one: Option<&Self>,
        other: Option<&Self>,
        first: u32,
        level: u32,
        numbers: &mut Vec<u32>,
    ) {
        if one.is_none() && other.is_none() || one.zip(other).is_some_and(|(a, b)| a.is_same(b)) {
            return;
        }
        let below = level.saturating_sub(1);
        let width = if level == 0 { LEAF } else { WIDTH };
        for place in 0..width {
            let first = with_digit::<LEAF>(first, level, place);
            if level > 0 {
                let (one, other) = (
                    one.and_then(|it| it.child(place)),
                    other.and_then(|it| it.child(place)),
                );
                Self::differences(one, other, first, below, numbers);
            } else if one.is_some_and(|it| it.has(place)) != other.is_some_and(|it| it.has(place)) {
                numbers.push(first);
            }
        }
    }

    /// Whether both are one node in memory.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Branch(one), Self::Branch(other)) => Arc::ptr_eq(one, other),
            (Self::Leaf(one), Self::Leaf(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn child(&self, place: usize) -> Option<&Self> {
        match self {
            Self::Branch(children) => children[place].as_ref(),
            Self::Leaf(_) => None,
        }
    }

    fn has(&self, place: usize) -> bool {
        match self {
            Self::Branch(children) => children[place].is_some(),
            Self::Leaf(values) => values[place].is_some(),
        }
    }

    fn at_or_after(&self, number: u32, level: u32) -> Option<(u32, &T)> {
        let first = digit::<LEAF>(number, level);
        match self {
            Self::Branch(children) => {
                let places = children.iter().enumerate().skip(first);
                places
                    .filter_map(|(place, child)| Some((place, child.as_ref()?)))
                    .find_map(|(place, child)| {
                        // Later children are searched from their first number.
                        let from = if place == first {
                            number
                        } else {
                            with_digit::<LEAF>(number, level, place)
                        };
                        child.at_or_after(from, level.saturating_sub(1))
                    })
            }
            Self::Leaf(values) => {
                let mut places = values.iter().enumerate().skip(first);
                places.find_map(|(place, value)| {
                    Some((with_digit::<LEAF>(number, 0, place), value.as_ref()?))
                })
            }
        }
    }
}

/// The first number with the digit at the level, and the digits of `number` above it.
fn with_digit<const LEAF: usize>(number: u32, level: u32, digit: usize) -> u32 {
    let (this, above) = (shift::<LEAF>(level), shift::<LEAF>(level + 1));
    let prefix = u64::from(number) >> above << above;
    (prefix | (digit as u64) << this) as u32
}

#[cfg(test)]
mod tests;
