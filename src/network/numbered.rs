//! Values by number, for the numbers of a sequence.

use std::{array, sync::Arc};

/// How many children a branch has: two to that. To change one, all are copied,
/// and each of them is touched for it.
const BITS: u32 = 5;
const WIDTH: usize = 1 << BITS;

/// A persistent map from numbers: a clone shares all that does not change
/// afterwards.
///
/// The numbers of a sequence are given lowest first, so they are next to each
/// other, and a number is the way to its value: five bits of it for each level
/// of a tree that is as high as the highest number needs. Nothing is compared
/// on that way, and with a million of peers all but its last step stays in a
/// processor's cache. A tree of sorted keys took seven steps through memory.
/// One value at a high number takes a node for each level, seven at the most.
///
/// `LEAF` is how many values stand next to each other, a power of two. Many are
/// good for small values that are read often, since then they lie on few pages
/// of memory; but all of them are copied when one changes.
#[derive(Debug, Clone)]
pub(super) struct Numbered<T, const LEAF: usize = WIDTH> {
    root: Option<Node<T, LEAF>>,
    /// How many levels the tree has.
    levels: u32,
    len: usize,
}

/// What kind it is stands beside the pointer to it, so that of a leaf nothing is
/// read but the value.
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
        self.place(number)?.as_ref()
    }

    /// Where the value of a number stands, without a look at it.
    pub fn place(&self, number: u32) -> Option<&Option<T>> {
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
            let found = self.at_or_after(from?)?;
            from = found.0.checked_add(1);
            Some(found)
        })
    }

    /// The value at the number, or at the next one that has any.
    fn at_or_after(&self, number: u32) -> Option<(u32, &T)> {
        if self.is_beyond(number) {
            return None;
        }
        let root = self.root.as_ref()?;
        root.at_or_after(number, self.levels - 1)
    }

    /// Whether the tree is not high enough for the number.
    fn is_beyond(&self, number: u32) -> bool {
        u64::from(number) >> shift::<LEAF>(self.levels) > 0
    }
}

impl<T: Clone, const LEAF: usize> Numbered<T, LEAF> {
    /// Puts a value at a number; gives the one that was there.
    pub fn insert(&mut self, number: u32, value: T) -> Option<T> {
        while self.is_beyond(number) {
            self.levels += 1;
            if let Some(root) = self.root.take() {
                let mut children = array::from_fn(|_| None);
                children[0] = Some(root);
                self.root = Some(Node::Branch(Arc::new(children)));
            }
        }
        let earlier = insert(&mut self.root, number, value, self.levels - 1);
        self.len += usize::from(earlier.is_none());
        earlier
    }

    /// Takes out the value at a number.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        // What is not there must not cost a copy of the way to it.
        if !self.contains(number) {
            return None;
        }
        let removed = remove(&mut self.root, number, self.levels - 1);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// How many bits of a number the levels below that one take; leaves are level 0.
const fn shift<const LEAF: usize>(level: u32) -> u32 {
    match level {
        0 => 0,
        level => LEAF.ilog2() + BITS * (level - 1),
    }
}

/// The place of a number in a node of that level.
fn digit<const LEAF: usize>(number: u32, level: u32) -> usize {
    let width = if level == 0 { LEAF } else { WIDTH };
    (number >> shift::<LEAF>(level)) as usize % width
}

/// Where there is no node yet, one is made.
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

/// A node that becomes empty is taken out as well.
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

    fn at_or_after(&self, number: u32, level: u32) -> Option<(u32, &T)> {
        let first = digit::<LEAF>(number, level);
        match self {
            Self::Branch(children) => {
                let places = children.iter().enumerate().skip(first);
                places
                    .filter_map(|(place, child)| Some((place, child.as_ref()?)))
                    .find_map(|(place, child)| {
                        // Of later children even the first number is good.
                        let from = match place == first {
                            true => number,
                            false => with_digit::<LEAF>(number, level, place),
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

/// The first number with that digit at that level, and those of `number` above.
fn with_digit<const LEAF: usize>(number: u32, level: u32, digit: usize) -> u32 {
    let (this, above) = (shift::<LEAF>(level), shift::<LEAF>(level + 1));
    let kept = u64::from(number) >> above << above;
    (kept | (digit as u64) << this) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Numbered, WIDTH};

    /// Low ones, as a sequence gives them, and some of any size.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            6 => 0u32..100,
            2 => 0u32..5_000,
            1 => any::<u32>(),
            1 => (0u32..10).prop_map(|below| u32::MAX - below),
        ]
    }

    /// The same as a map of the standard library; and a clone stays as it was.
    fn play<const LEAF: usize>(steps: &[(u32, Option<u8>)]) -> Result<(), TestCaseError> {
        let (mut map, mut model) = (Numbered::<u8, LEAF>::default(), BTreeMap::new());
        let mut earlier = (map.clone(), model.clone());
        for (place, &(number, value)) in steps.iter().enumerate() {
            match value {
                Some(value) => {
                    prop_assert_eq!(map.insert(number, value), model.insert(number, value));
                }
                None => prop_assert_eq!(map.remove(number), model.remove(&number)),
            }
            prop_assert_eq!(map.get(number), model.get(&number));
            prop_assert_eq!(map.len(), model.len());
            if place % 16 == 0 {
                earlier = (map.clone(), model.clone());
            }
        }
        for (map, model) in [(&map, &model), (&earlier.0, &earlier.1)] {
            let found: Vec<_> = map.iter().map(|(number, value)| (number, *value)).collect();
            let expected = model.iter().map(|(number, value)| (*number, *value));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((number(), any::<Option<u8>>()), 0..300)) {
            play::<WIDTH>(&steps)?;
            play::<1_024>(&steps)?;
        }

        #[test]
        fn the_next_number_is_found(
            numbers in prop::collection::btree_set(number(), 0..50),
            from in number(),
        ) {
            let mut map = Numbered::<_>::default();
            for number in &numbers {
                map.insert(*number, ());
            }
            let found = map.at_or_after(from).map(|(number, ())| number);
            prop_assert_eq!(found, numbers.range(from..).next().copied());
        }

        /// Nothing is left of what is taken out.
        #[test]
        fn empty_nodes_are_gone(numbers in prop::collection::vec(number(), 0..50)) {
            let mut map = Numbered::<_>::default();
            for number in &numbers {
                map.insert(*number, ());
            }
            for number in &numbers {
                map.remove(*number);
            }
            prop_assert_eq!(map.len(), 0);
            prop_assert!(map.root.is_none());
        }
    }
}
