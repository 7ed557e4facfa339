//! The peers, indexed by host name.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
};

use equivalent::Equivalent;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};
use siphasher::sip::SipHasher13;

use super::{Hostname, Peer};

/// A set of peers, one for each host. The name is stored in the peer only: as the
/// key of a map it would take twice the memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(GenericHashMap<HostEntry, (), NameHashBuilder, DefaultSharedPtr>);

/// A label that may be a host name, with its hash: many can be looked up together,
/// so that memory latency is paid once and not for each.
#[derive(Debug, Clone, Copy)]
pub struct HostKey<'n> {
    /// The hash of the label in its original case, which is nearly always lower
    /// case.
    hash: u64,
    label: &'n [u8],
}

/// A peer that compares equal to any other peer of its host.
#[derive(Debug, Clone)]
struct HostEntry(Arc<Peer>);

impl Hosts {
    /// The peer of a host, whose name is in lower case.
    pub fn get(&self, host: &str) -> Option<&Arc<Peer>> {
        let (HostEntry(peer), ()) = self.0.get_key_value(host)?;
        Some(peer)
    }

    /// Prepares a label for [`find`](Self::find) in this set or any set derived from
    /// it.
    pub fn host_key<'n>(&self, label: &'n [u8]) -> HostKey<'n> {
        let mut hasher = self.0.hasher().build_hasher();
        hasher.write(label);
        let hash = hasher.finish();
        HostKey { hash, label }
    }

    /// The peer of the key's host, or in rare cases another one with the same hash;
    /// `None` if the label is not in lower case. Reads nothing of the peer itself.
    pub fn find_by_hash(&self, key: &HostKey<'_>) -> Option<&Arc<Peer>> {
        let (HostEntry(peer), ()) = self.0.get_key_value(&HashKey(key.hash))?;
        Some(peer)
    }

    /// The peer of the key's host; the label may be in any case.
    pub fn find(&self, key: &HostKey<'_>) -> Option<&Arc<Peer>> {
        let host = Hostname::from_label(key.label).ok()?;
        self.get(host.as_str())
    }

    /// Inserts the peer, and replaces any other one of its host.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        // The map replaces an equal key by the new one.
        self.0.insert(HostEntry(peer), ());
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

impl Borrow<str> for HostEntry {
    fn borrow(&self) -> &str {
        self.0.host.as_str()
    }
}

impl PartialEq for HostEntry {
    fn eq(&self, other: &Self) -> bool {
        self.0.host == other.0.host
    }
}

impl Eq for HostEntry {}

impl HostKey<'_> {
    /// Whether the label is the host name of this peer.
    pub fn matches(&self, peer: &Peer) -> bool {
        let host = peer.host.as_str().as_bytes();
        // The bytes are nearly always equal, and comparing them is faster.
        host == self.label || host.eq_ignore_ascii_case(self.label)
    }
}

/// Equal to every entry with this hash: the map compares no entry with another hash.
struct HashKey(u64);

impl Equivalent<HostEntry> for HashKey {
    fn equivalent(&self, _: &HostEntry) -> bool {
        true
    }
}

impl Hash for HashKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The same hash as that of the host name, by which entries are looked up.
impl Hash for HostEntry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host.hash(state);
    }
}

/// Hashes names with SipHash-1-3 and a random key, like the standard library, so
/// that nobody can choose hosts whose hashes collide; but it hashes each name in one
/// piece, which takes a third of the time.
#[derive(Clone, Copy)]
struct NameHashBuilder(SipHasher13);

impl Default for NameHashBuilder {
    fn default() -> Self {
        let random = RandomState::new();
        Self(SipHasher13::new_with_keys(
            random.hash_one(0),
            random.hash_one(1),
        ))
    }
}

// Does not print the key.
impl std::fmt::Debug for NameHashBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameHashBuilder")
    }
}

impl BuildHasher for NameHashBuilder {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher {
            key: self.0,
            hash: 0,
        }
    }
}

/// Hashes one name.
struct NameHasher {
    key: SipHasher13,
    hash: u64,
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.hash = self.key.hash(bytes);
    }

    /// Sets a hash that is known already ([`HashKey`]).
    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }

    /// Ignores the terminator of a string: a name is the only value that is hashed.
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

    /// The map uses 32 bits of a hash, which some of so many hosts have in common: the
    /// probability that none have is one in a hundred million.
    #[test]
    fn a_host_is_found_if_another_has_its_hash() {
        let mut hosts = Hosts::default();
        let peers: Vec<_> = (0..400_000).map(peer).collect();
        for peer in &peers {
            hosts.insert(peer.clone());
        }
        let mut collisions = 0;
        for peer in &peers {
            let name = peer.host.as_str();
            let uppercase = name.to_uppercase();
            let key = hosts.host_key(uppercase.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&key).unwrap(), peer));
            assert!(Arc::ptr_eq(hosts.get(name).unwrap(), peer));
            let key = hosts.host_key(name.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&key).unwrap(), peer));
            let candidate = hosts.find_by_hash(&key).unwrap();
            assert_eq!(key.matches(candidate), Arc::ptr_eq(candidate, peer));
            collisions += u32::from(!key.matches(candidate));
        }
        assert!(collisions > 0, "no two hosts have the same hash");
        let key = hosts.host_key(b"host-x");
        assert!(hosts.find(&key).is_none());
        assert!(
            hosts
                .find_by_hash(&key)
                .is_none_or(|peer| !key.matches(peer))
        );
    }
}
