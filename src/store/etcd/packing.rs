//! From the writes of a commit to transactions that etcd accepts.
//!
//! etcd takes 128 operations and 1.5 MiB in one request. A larger commit becomes
//! several transactions, of which each writes the keys that mark a commit, so that
//! what was stored of a commit that failed in between is not overlooked. All but the
//! last one say that more of the commit follows.

use std::{collections::BTreeSet, sync::Arc};

use super::{keys::Keys, values, wire::Operation};

/// etcd's `--max-txn-ops`.
pub const MAX_OPERATIONS: usize = 128;

/// Below etcd's `--max-request-bytes`.
const MAX_BYTES: usize = 1_000_000;

/// What an operation takes beside its key and its value, at most.
const OVERHEAD: usize = 64;

/// The value of keys that say everything by their revision.
pub const MARK: &[u8] = br#"{"version":1}"#;

/// A change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub origin: Arc<str>,
    pub key: Vec<u8>,
    /// `None` to remove the key.
    pub value: Option<Vec<u8>>,
    pub concerns: Concern,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// A registration or a pin.
    Peers,
    /// The serial of a zone.
    Serial,
    /// Anything else.
    Other,
}

/// The operations of one transaction.
#[derive(Debug, Default)]
pub struct Pack {
    pub operations: Vec<Operation>,
    bytes: usize,
    changed: BTreeSet<Arc<str>>,
}

/// Distributes the changes, in order, over transactions. There is at least one.
///
/// The last one leaves the commit open, too, if peers change and the last change is no
/// serial: then no serial stands for what is stored.
pub fn pack(keys: &Keys, changes: Vec<Change>) -> Vec<Pack> {
    let has = |concern| changes.iter().any(|change| change.concerns == concern);
    let stays_open = has(Concern::Peers) && !has(Concern::Serial);
    let mut packs = Vec::new();
    let mut pack = Pack::default();
    for change in changes {
        if !pack.has_room_for(&change) {
            pack.put(keys.commit(), values::commit(true));
            packs.push(std::mem::take(&mut pack));
        }
        pack.add(keys, change);
    }
    pack.put(keys.commit(), values::commit(stays_open));
    packs.push(pack);
    packs
}

impl Pack {
    fn has_room_for(&self, change: &Change) -> bool {
        // The change, the mark of its zone, and the key `commit`.
        let value = change.value.as_ref().map_or(0, Vec::len);
        let bytes = 3 * (change.key.len() + OVERHEAD) + change.origin.len() * 3 + value;
        self.operations.len() + 3 <= MAX_OPERATIONS && self.bytes + bytes <= MAX_BYTES
    }

    fn add(&mut self, keys: &Keys, change: Change) {
        if change.concerns == Concern::Peers && self.changed.insert(change.origin.clone()) {
            self.put(keys.changed(&change.origin), MARK.to_vec());
        }
        match change.value {
            Some(value) => self.put(change.key, value),
            None => {
                self.bytes += change.key.len() + OVERHEAD;
                self.operations
                    .push(Operation::delete(change.key, Vec::new()));
            }
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len() + OVERHEAD;
        self.operations.push(Operation::put(key, value, 0));
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::store::etcd::wire::Txn;

    fn change(number: usize, value: usize, concerns: Concern) -> Change {
        Change {
            origin: format!("zone-{}.internal.", number % 3).into(),
            key: format!("/paramd/1/zones/x/{number}").into_bytes(),
            value: Some(vec![0; value]),
            concerns,
        }
    }

    #[test]
    fn no_transaction_is_too_large_and_every_change_is_in_one() {
        for (count, value) in [(0, 0), (1, 10), (126, 10), (127, 10), (1_000, 9_000)] {
            let keys = Keys::new("/paramd");
            let changes = (0..count).map(|number| change(number, value, Concern::Peers));
            let packs = pack(&keys, changes.collect());
            let mut found = 0;
            for Pack { operations, .. } in packs {
                assert!(operations.len() <= MAX_OPERATIONS);
                let marks = 1 + operations.len().saturating_sub(1).min(3);
                found += operations.len() - marks.min(operations.len());
                let txn = Txn {
                    success: operations,
                    ..Txn::default()
                };
                assert!(txn.encoded_len() < 1 << 20, "{}", txn.encoded_len());
            }
            assert!(found >= count.saturating_sub(3), "{found} of {count}");
        }
    }

    /// What the transactions say of whether more of the commit follows.
    fn open(changes: Vec<Change>) -> Vec<bool> {
        let keys = Keys::new("/paramd");
        let open = pack(&keys, changes).into_iter().map(|pack| {
            let mut puts = pack.operations.into_iter().filter_map(|it| it.put);
            let commit = puts.find(|put| put.key == keys.commit());
            values::is_open(&commit.unwrap().value).unwrap()
        });
        open.collect()
    }

    #[test]
    fn all_but_the_last_transaction_leave_the_commit_open() {
        let peers = |count| (0..count).map(|number| change(number, 10, Concern::Peers));
        let serial = || [change(0, 10, Concern::Serial)];
        assert_eq!(open(vec![]), [false]);
        assert_eq!(open(vec![change(0, 10, Concern::Other)]), [false]);
        assert_eq!(open(peers(9).chain(serial()).collect()), [false]);
        let large = open(peers(300).chain(serial()).collect());
        assert_eq!(large, [true, true, false]);
        // Another commit brings the serial.
        assert_eq!(open(peers(9).collect()), [true]);
    }
}
