//! The peers, found by their hosts.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
};

use equivalent::Equivalent;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};
use siphasher::sip::SipHasher13;

use super::{Hostname, Peer};

/// A set of peers, of each host one. The name stands in the peer alone: beside
/// it in the map it would take twice the room.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(GenericHashMap<ByHost, (), OfNames, DefaultSharedPtr>);

/// A label that may be a host's name, with its hash: so that many can be
/// looked up next to each other, and memory is waited for once, not once for each.
#[derive(Debug, Clone, Copy)]
pub struct HostKey<'n> {
    /// Of the label as it is spelt, which nearly always is in lower case.
    hash: u64,
    label: &'n [u8],
}

/// Equal to another peer of the same host.
#[derive(Debug, Clone)]
struct ByHost(Arc<Peer>);

impl Hosts {
    /// The peer of the host of that name, in lower case.
    pub fn get(&self, host: &str) -> Option<&Arc<Peer>> {
        let (ByHost(peer), ()) = self.0.get_key_value(host)?;
        Some(peer)
    }

    /// What [`find`](Self::find) is to find, in this set or in one that has become
    /// of it.
    pub fn host_key<'n>(&self, label: &'n [u8]) -> HostKey<'n> {
        let mut hasher = self.0.hasher().build_hasher();
        hasher.write(label);
        let hash = hasher.finish();
        HostKey { hash, label }
    }

    /// The peer that is sought, or seldom another one whose host has the same hash;
    /// nobody if it is not spelt in lower case. Nothing of the peer itself is read.
    pub fn likely(&self, sought: &HostKey<'_>) -> Option<&Arc<Peer>> {
        let (ByHost(peer), ()) = self.0.get_key_value(&ByHash(sought.hash))?;
        Some(peer)
    }

    /// The peer that is sought, in any case.
    pub fn find(&self, sought: &HostKey<'_>) -> Option<&Arc<Peer>> {
        let host = Hostname::from_label(sought.label).ok()?;
        self.get(host.as_str())
    }

    /// Puts the peer in the place of any other of its host.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        // The map puts the new key in the place of an equal one.
        self.0.insert(ByHost(peer), ());
    }

    pub fn remove(&mut self, host: &Hostname) {
        self.0.remove(host.as_str());
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Borrow<str> for ByHost {
    fn borrow(&self) -> &str {
        self.0.host.as_str()
    }
}

impl PartialEq for ByHost {
    fn eq(&self, other: &Self) -> bool {
        self.0.host == other.0.host
    }
}

impl Eq for ByHost {}

impl HostKey<'_> {
    /// Whether it is this peer's host.
    pub fn is(&self, peer: &Peer) -> bool {
        let host = peer.host.as_str().as_bytes();
        // Nearly always they are spelt alike, which is sooner seen.
        host == self.label || host.eq_ignore_ascii_case(self.label)
    }
}

/// Equal to whoever has this hash, since the map asks no key that has another.
struct ByHash(u64);

impl Equivalent<ByHost> for ByHash {
    fn equivalent(&self, _: &ByHost) -> bool {
        true
    }
}

impl Hash for ByHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// As the name itself is hashed, by which it is looked up.
impl Hash for ByHost {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host.hash(state);
    }
}

/// Hashes names as the standard library does, by a random key, so that nobody can
/// choose hosts whose hashes are the same; but each in one piece, for a third of
/// the time.
#[derive(Clone, Copy)]
struct OfNames(SipHasher13);

impl Default for OfNames {
    fn default() -> Self {
        let random = RandomState::new();
        Self(SipHasher13::new_with_keys(
            random.hash_one(0),
            random.hash_one(1),
        ))
    }
}

// The key is nobody's business.
impl std::fmt::Debug for OfNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OfNames")
    }
}

impl BuildHasher for OfNames {
    type Hasher = OfName;

    fn build_hasher(&self) -> OfName {
        OfName {
            key: self.0,
            hash: 0,
        }
    }
}

/// Hashes one name.
struct OfName {
    key: SipHasher13,
    hash: u64,
}

impl Hasher for OfName {
    fn write(&mut self, octets: &[u8]) {
        self.hash = self.key.hash(octets);
    }

    /// What is hashed already.
    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }

    /// The end of a text: nothing comes after it that it would have to be told
    /// from.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Holder, Lease, PeerId, Role, Sequence, Time},
        *,
    };

    fn peer(number: u32) -> Arc<Peer> {
        let address = [127, 0, 0, 1].into();
        Arc::new(Peer {
            host: format!("host-{number}").parse().unwrap(),
            id: PeerId {
                sequence: Sequence(0),
                number,
            },
            role: Role(0),
            holder: Holder {
                source: address,
                address,
            },
            epoch: 1,
            lease: Lease::granted(Time(0)),
        })
    }

    /// The map looks at 32 bits of a hash, which some of so many hosts have in
    /// common: there is a chance of one in a hundred million that none have.
    #[test]
    fn a_host_is_found_also_where_another_has_its_hash() {
        let mut hosts = Hosts::default();
        let peers: Vec<_> = (0..400_000).map(peer).collect();
        for peer in &peers {
            hosts.insert(peer.clone());
        }
        let mut others = 0;
        for peer in &peers {
            let name = peer.host.as_str();
            let spelt = name.to_uppercase();
            let sought = hosts.host_key(spelt.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&sought).unwrap(), peer));
            assert!(Arc::ptr_eq(hosts.get(name).unwrap(), peer));
            let sought = hosts.host_key(name.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&sought).unwrap(), peer));
            let likely = hosts.likely(&sought).unwrap();
            assert_eq!(sought.is(likely), Arc::ptr_eq(likely, peer));
            others += u32::from(!sought.is(likely));
        }
        assert!(others > 0, "no two hosts have the same hash");
        let sought = hosts.host_key(b"host-x");
        assert!(hosts.find(&sought).is_none());
        assert!(hosts.likely(&sought).is_none_or(|peer| !sought.is(peer)));
    }
}
