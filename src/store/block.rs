//! Blocks: the registrations of consecutive numbers, stored as one record, in sled
//! and in etcd alike.
//!
//! New hosts get consecutive numbers, so hosts that register together share a few
//! blocks, where a record for each would make sled copy a page and write a log
//! entry for each, and would take many transactions of etcd. A start reads fewer
//! records as well.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize, de::Error as _};

use super::{Registration, Write};

/// The size of a block.
pub const NUMBERS: u32 = 32;

/// The registrations of one block, by number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Block(BTreeMap<u32, Registration>);

/// The stored form. A later form gets another version, and this one remains
/// readable.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    version: u32,
    #[serde(borrow)]
    peers: Vec<StoredPeer<'a>>,
}

/// The number, host, role, source, address and epoch.
#[derive(Serialize, Deserialize)]
struct StoredPeer<'a>(
    u32,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    IpAddr,
    IpAddr,
    u64,
);

const VERSION: u32 = 1;

impl Block {
    /// The index of the block that contains the number.
    pub fn place(number: u32) -> u32 {
        number / NUMBERS
    }

    pub fn put(&mut self, registration: Registration) {
        self.0.insert(registration.number, registration);
    }

    /// Removes the number if it is that of the host.
    pub fn remove(&mut self, number: u32, host: &str) {
        if self.0.get(&number).is_some_and(|it| it.host == host) {
            self.0.remove(&number);
        }
    }

    /// Applies a write to a registration of this block.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put { registration, .. } => self.put(registration.clone()),
            Write::Delete { host, number, .. } => self.remove(*number, host),
            _ => {}
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_registrations(self) -> impl Iterator<Item = Registration> {
        self.0.into_values()
    }

    /// The value that is stored.
    pub fn to_value(&self) -> Vec<u8> {
        let peers = self.0.values().map(|it| {
            StoredPeer(
                it.number,
                Cow::from(&it.host),
                Cow::from(&it.role),
                it.source,
                it.address,
                it.epoch,
            )
        });
        let stored = Stored {
            version: VERSION,
            peers: peers.collect(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Parses the block with this index of a sequence.
    pub fn from_value(sequence: &str, place: u32, value: &[u8]) -> Result<Self, serde_json::Error> {
        let Stored { version, peers } = serde_json::from_slice(value)?;
        if version != VERSION {
            let later = format!("its version {version} is not supported by this release");
            return Err(serde_json::Error::custom(later));
        }
        let mut block = Self::default();
        for StoredPeer(number, host, role, source, address, epoch) in peers {
            if Self::place(number) != place {
                let elsewhere = format!("{sequence}{number} is in the wrong block");
                return Err(serde_json::Error::custom(elsewhere));
            }
            block.put(Registration {
                host: host.into_owned(),
                sequence: sequence.to_owned(),
                number,
                role: role.into_owned(),
                source,
                address,
                epoch,
            });
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration(number: u32, host: &str, address: IpAddr) -> Registration {
        Registration {
            host: host.to_owned(),
            sequence: "vp".to_owned(),
            number,
            role: "mixed".to_owned(),
            source: "127.0.0.1".parse().unwrap(),
            address,
            epoch: u64::from(number) + 1,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            place in 0..u32::MAX / NUMBERS,
            peers in prop::collection::vec((0..NUMBERS, "[a-z0-9_-]{1,63}", any::<IpAddr>()), 0..40),
        ) {
            let mut block = Block::default();
            for (number, host, address) in peers {
                block.put(registration(place * NUMBERS + number, &host, address));
            }
            let value = block.to_value();
            prop_assert_eq!(Block::from_value("vp", place, &value).unwrap(), block);
        }

        /// Any value gives an error or a block, never a panic.
        #[test]
        fn any_octets_may_be_read(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Block::from_value("vp", 0, &value);
        }
    }

    #[test]
    fn a_number_is_taken_out_for_its_holder_alone() {
        let mut block = Block::default();
        block.put(registration(3, "a", "10.0.0.1".parse().unwrap()));
        block.remove(3, "b");
        block.remove(4, "a");
        assert!(!block.is_empty());
        block.remove(3, "a");
        assert!(block.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let said = |value: &[u8]| Block::from_value("vp", 0, value).unwrap_err().to_string();
        let later = said(br#"{"version":2,"peers":[]}"#);
        assert!(later.contains("its version 2 is not supported"), "{later}");
        let strange = said(br#"{"version":1,"peers":[[32,"a","mixed","::1","::1",1]]}"#);
        assert!(strange.contains("vp32 is in the wrong block"), "{strange}");
    }
}
