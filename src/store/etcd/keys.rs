//! The keys in etcd, below a prefix with the version of the layout.
//!
//! | key after `/paramd/1/` | value |
//! | --- | --- |
//! | `leader` | who the writer is, under the writer's lease |
//! | `channel` | the key pair with which the replicas recognize each other |
//! | `cookies` | the secrets of cookies |
//! | `hold` | how long a replica answers without contact with the writer |
//! | `commit` | written by every transaction, so that its mod revision is the number of the last commit |
//! | `zones/ORIGIN/blocks/SEQUENCE/INDEX` | a block of registrations; the index has eight hexadecimal digits |
//! | `zones/ORIGIN/ended/SEQUENCE/INDEX` | the numbers of that block whose leases have ended, and those that are withheld; missing if there are none |
//! | `zones/ORIGIN/pins/HOST` | the number that is pinned to the host |
//! | `zones/ORIGIN/serial` | the first serial that was never published |
//! | `zones/ORIGIN/changed` | written by every transaction that changes a registration or a pin of the zone |
//! | `zones/ORIGIN/restoring` | exists while `paramd restore` fills the zone |
//!
//! All values are JSON with a version. Another layout would have another number in
//! the prefix.

use crate::store::replication::BlockPlace;

/// The version of the layout.
const VERSION: u32 = 1;

/// The keys below a prefix such as `/paramd`.
#[derive(Debug, Clone)]
pub struct Keys(String);

/// A key of a zone, as it is found in etcd.
#[derive(Debug, PartialEq, Eq)]
pub enum ZoneKey {
    Block(BlockPlace),
    Ended(BlockPlace),
    Pin { host: String },
    Serial,
    Changed,
    Restoring,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Self(format!("{}/{VERSION}/", prefix.trim_end_matches('/')))
    }

    pub fn leader(&self) -> Vec<u8> {
        format!("{}leader", self.0).into_bytes()
    }

    pub fn commit(&self) -> Vec<u8> {
        format!("{}commit", self.0).into_bytes()
    }

    pub fn channel(&self) -> Vec<u8> {
        format!("{}channel", self.0).into_bytes()
    }

    pub fn cookies(&self) -> Vec<u8> {
        format!("{}cookies", self.0).into_bytes()
    }

    pub fn hold(&self) -> Vec<u8> {
        format!("{}hold", self.0).into_bytes()
    }

    /// The prefix of all keys.
    pub fn all(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    /// The prefix of the keys of all zones.
    pub fn zones(&self) -> Vec<u8> {
        format!("{}zones/", self.0).into_bytes()
    }

    /// The prefix of the keys of a zone.
    pub fn zone(&self, origin: &str) -> Vec<u8> {
        format!("{}zones/{}/", self.0, escaped(origin)).into_bytes()
    }

    pub fn block(&self, origin: &str, place: &BlockPlace) -> Vec<u8> {
        self.of_zone(origin, &format!("blocks/{}", of_place(place)))
    }

    pub fn ended(&self, origin: &str, place: &BlockPlace) -> Vec<u8> {
        self.of_zone(origin, &format!("ended/{}", of_place(place)))
    }

    pub fn pin(&self, origin: &str, host: &str) -> Vec<u8> {
        self.of_zone(origin, &format!("pins/{}", escaped(host)))
    }

    pub fn serial(&self, origin: &str) -> Vec<u8> {
        self.of_zone(origin, "serial")
    }

    pub fn changed(&self, origin: &str) -> Vec<u8> {
        self.of_zone(origin, "changed")
    }

    pub fn restoring(&self, origin: &str) -> Vec<u8> {
        self.of_zone(origin, "restoring")
    }

    fn of_zone(&self, origin: &str, rest: &str) -> Vec<u8> {
        [&*self.zone(origin), rest.as_bytes()].concat()
    }

    /// What the key of a zone is that of; `None` for any other key.
    pub fn parse(&self, origin: &str, key: &[u8]) -> Option<ZoneKey> {
        let rest = key.strip_prefix(&*self.zone(origin))?;
        let rest = std::str::from_utf8(rest).ok()?;
        match rest.split_once('/') {
            Some(("blocks", place)) => place_of(place).map(ZoneKey::Block),
            Some(("ended", place)) => place_of(place).map(ZoneKey::Ended),
            Some(("pins", host)) => unescaped(host).map(|host| ZoneKey::Pin { host }),
            Some(_) => None,
            None => match rest {
                "serial" => Some(ZoneKey::Serial),
                "changed" => Some(ZoneKey::Changed),
                "restoring" => Some(ZoneKey::Restoring),
                _ => None,
            },
        }
    }

    /// The origin of the zone that a key belongs to.
    pub fn origin_of(&self, key: &[u8]) -> Option<String> {
        let rest = key.strip_prefix(&*self.zones())?;
        let (origin, _) = std::str::from_utf8(rest).ok()?.split_once('/')?;
        unescaped(origin)
    }
}

fn of_place(place: &BlockPlace) -> String {
    format!("{}/{:08x}", escaped(&place.sequence), place.index)
}

fn place_of(text: &str) -> Option<BlockPlace> {
    let (sequence, index) = text.split_once('/')?;
    if index.len() != 8 {
        return None;
    }
    Some(BlockPlace {
        sequence: unescaped(sequence)?,
        index: u32::from_str_radix(index, 16).ok()?,
    })
}

/// A part of a key. Bytes that could end it are written as `%` and two hexadecimal
/// digits.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(sequence: &str, index: u32) -> BlockPlace {
        let sequence = sequence.to_owned();
        BlockPlace { sequence, index }
    }

    #[test]
    fn a_key_is_what_is_documented() {
        let keys = Keys::new("/paramd");
        let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
        assert_eq!(text(keys.leader()), "/paramd/1/leader");
        assert_eq!(
            text(keys.block("test.internal.", &place("vp", 17))),
            "/paramd/1/zones/test.internal./blocks/vp/00000011"
        );
        assert_eq!(
            text(keys.ended("test.internal.", &place("vp", 17))),
            "/paramd/1/zones/test.internal./ended/vp/00000011"
        );
        assert_eq!(
            text(keys.pin("test.internal.", "peer-1")),
            "/paramd/1/zones/test.internal./pins/peer-1"
        );
        assert_eq!(text(Keys::new("/other/").zones()), "/other/1/zones/");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            origin in ".{1,20}", sequence in ".{1,20}", index in any::<u32>(), host in ".{1,20}",
        ) {
            let keys = Keys::new("/paramd");
            let place = place(&sequence, index);
            let (block, ended) = (keys.block(&origin, &place), keys.ended(&origin, &place));
            let pin = keys.pin(&origin, &host);
            for key in [&block, &ended, &pin] {
                prop_assert_eq!(keys.origin_of(key), Some(origin.clone()));
                prop_assert!(key.starts_with(&keys.zone(&origin)));
            }
            let read = keys.parse(&origin, &block);
            prop_assert_eq!(read, Some(ZoneKey::Block(place.clone())));
            prop_assert_eq!(keys.parse(&origin, &ended), Some(ZoneKey::Ended(place)));
            prop_assert_eq!(keys.parse(&origin, &pin), Some(ZoneKey::Pin { host }));
        }
    }
}
