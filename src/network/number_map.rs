//! A map from the numbers of a sequence to values.

use std::{array, sync::Arc};

/// The width of a branch is two to the power of this. A change copies one branch
/// on each level, and touches all of its children.
const BITS: u32 = 5;
const WIDTH: usize = 1 << BITS;

/// A persistent map from numbers: a clone shares everything that does not change
/// afterwards.
///
/// Numbers are assigned in ascending order, so they are dense, and each level of
/// the tree consumes five bits of the number. A lookup compares no keys, and with
/// a million peers all of its steps but the last hit the processor's cache, where
/// a tree of sorted keys took seven steps through memory. A single value at a
/// high number needs one node on each level, at most seven.
///
/// `LEAF` is the number of values in a leaf, a power of two. Large leaves suit
/// small values that are read often, because these then occupy few pages of
/// memory; but a change copies the whole leaf.
#[derive(Debug, Clone)]
pub(super) struct NumberMap<T, const LEAF: usize = WIDTH> {
    root: Option<Node<T, LEAF>>,
    /// The height of the tree.
    levels: u32,
    len: usize,
}

/// The kind of a node is stored beside the pointer to it, so that a lookup reads
/// nothing of a leaf but the value.
#[derive(Debug, Clone)]
enum Node<T, const LEAF: usize> {
    Branch(Arc<[Option<Node<T, LEAF>>; WIDTH]>),
    Leaf(Arc<[Option<T>; LEAF]>),
}

impl<T, const LEAF: usize> Default for NumberMap<T, LEAF> {
    fn default() -> Self {
        Self {
            root: None,
            levels: 1,
            len: 0,
        }
    }
}

impl<T, const LEAF: usize> NumberMap<T, LEAF> {
    pub fn get(&self, number: u32) -> Option<&T> {
        self.place(number)?.as_ref()
    }

    /// The place of a number's value, without reading it.
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

    /// All values with their numbers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let found = self.at_or_after(from?)?;
            from = found.0.checked_add(1);
            Some(found)
        })
    }

    /// The value at this number or the next one that has a value.
    fn at_or_after(&self, number: u32) -> Option<(u32, &T)> {
        if self.is_beyond(number) {
            return None;
        }
        let root = self.root.as_ref()?;
        root.at_or_after(number, self.levels - 1)
    }

    /// Whether the number is too large for the height of the tree.
    fn is_beyond(&self, number: u32) -> bool {
        u64::from(number) >> shift::<LEAF>(self.levels) > 0
    }
}

impl<T: Clone, const LEAF: usize> NumberMap<T, LEAF> {
    /// Inserts a value, and returns the one that it replaces.
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

    /// Removes and returns a value.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        // Removing an absent number must not copy the nodes on its path.
        if !self.contains(number) {
            return None;
        }
        let removed = remove(&mut self.root, number, self.levels - 1);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// How many bits of a number the levels below this one consume. Leaves are level
/// 0.
const fn shift<const LEAF: usize>(level: u32) -> u32 {
    match level {
        0 => 0,
        level => LEAF.ilog2() + BITS * (level - 1),
    }
}

/// The index of a number in a node of this level.
fn digit<const LEAF: usize>(number: u32, level: u32) -> usize {
    let width = if level == 0 { LEAF } else { WIDTH };
    (number >> shift::<LEAF>(level)) as usize % width
}

/// Creates the node if it does not exist.
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

/// Removes nodes that become empty.
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
                        // A later child is searched from its first number.
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

/// The first number with this digit at this level and the digits of `number`
/// above.
fn with_digit<const LEAF: usize>(number: u32, level: u32, digit: usize) -> u32 {
    let (this, above) = (shift::<LEAF>(level), shift::<LEAF>(level + 1));
    let kept = u64::from(number) >> above << above;
    (kept | (digit as u64) << this) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{NumberMap, WIDTH};

    /// Mostly low numbers, as in a sequence, and some of any size.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            6 => 0u32..100,
            2 => 0u32..5_000,
            1 => any::<u32>(),
            1 => (0u32..10).prop_map(|below| u32::MAX - below),
        ]
    }

    /// The map behaves like one of the standard library, and a clone does not
    /// change.
    fn play<const LEAF: usize>(steps: &[(u32, Option<u8>)]) -> Result<(), TestCaseError> {
        let (mut map, mut model) = (NumberMap::<u8, LEAF>::default(), BTreeMap::new());
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
            let mut map = NumberMap::<_>::default();
            for number in &numbers {
                map.insert(*number, ());
            }
            let found = map.at_or_after(from).map(|(number, ())| number);
            prop_assert_eq!(found, numbers.range(from..).next().copied());
        }

        /// Nothing remains of removed values.
        #[test]
        fn empty_nodes_are_gone(numbers in prop::collection::vec(number(), 0..50)) {
            let mut map = NumberMap::<_>::default();
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
