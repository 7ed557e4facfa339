//! Tests of the map, against that of the standard library.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Numbered, WIDTH};

/// Low numbers, as a sequence assigns them, and some of any size.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0u32..100,
        2 => 0u32..5_000,
        1 => any::<u32>(),
        1 => (0u32..10).prop_map(|below| u32::MAX - below),
    ]
}

/// The map behaves like that of the standard library, and a clone does not change.
fn play<const LEAF: usize>(steps: &[(u32, Option<u8>)]) -> Result<(), TestCaseError> {
    let (mut map, mut model) = (Numbered::<u8, LEAF>::default(), BTreeMap::new());
    let mut snapshot = (map.clone(), model.clone());
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
            snapshot = (map.clone(), model.clone());
        }
    }
    for (map, model) in [(&map, &model), (&snapshot.0, &snapshot.1)] {
        let values: Vec<_> = map.iter().map(|(number, value)| (number, *value)).collect();
        let expected = model.iter().map(|(number, value)| (*number, *value));
        prop_assert_eq!(values, expected.collect::<Vec<_>>());
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
    fn two_maps_differ_where_one_has_a_value(
        before in prop::collection::btree_set(number(), 0..50),
        steps in prop::collection::vec((number(), any::<bool>()), 0..20),
    ) {
        let mut map = Numbered::<_>::default();
        for number in &before {
            map.insert(*number, 0);
        }
        let (snapshot, mut after) = (map.clone(), before.clone());
        for (number, is_there) in steps {
            if is_there {
                map.insert(number, 1);
                after.insert(number);
            } else {
                map.remove(number);
                after.remove(&number);
            }
        }
        let expected: Vec<u32> = before.symmetric_difference(&after).copied().collect();
        prop_assert_eq!(map.differences(&snapshot), expected.clone());
        prop_assert_eq!(snapshot.differences(&map), expected);
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
        let next = map.at_or_after(from).map(|(number, ())| number);
        prop_assert_eq!(next, numbers.range(from..).next().copied());
    }

    #[test]
    fn empty_nodes_are_removed(numbers in prop::collection::vec(number(), 0..50)) {
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
