//! The peers by host name.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
};

use equivalent::Equivalent;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};
use siphasher::sip::SipHasher13;

use super::{Hostname, Peer};

/// A set of peers, at most one for each host. The name is stored in the peer
/// alone: a copy in the map would double the memory for names.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(GenericHashMap<HostEntry, (), NameHash, DefaultSharedPtr>);

/// A label that may be a host name, with its hash. Hashing several labels before
/// they are looked up lets their memory accesses overlap.
#[derive(Debug, Clone, Copy)]
pub struct HashedLabel<'n> {
    /// The hash of the label as it is spelled, which is usually in lower case.
    hash: u64,
    label: &'n [u8],
}

/// Compares as equal to any peer of the same host.
#[derive(Debug, Clone)]
struct HostEntry(Arc<Peer>);

impl Hosts {
    /// The peer of a host. The name is in lower case.
    pub fn get(&self, host: &str) -> Option<&Arc<Peer>> {
        let (HostEntry(peer), ()) = self.0.get_key_value(host)?;
        Some(peer)
    }

    /// Prepares a label for [`find`](Self::find) in this set or in a later
    /// version of it.
    pub fn hash_label<'n>(&self, label: &'n [u8]) -> HashedLabel<'n> {
        let mut hasher = self.0.hasher().build_hasher();
        hasher.write(label);
        let hash = hasher.finish();
        HashedLabel { hash, label }
    }

    /// The peer with the hash of the label, which in rare cases is that of
    /// another host. A label that is not in lower case has no candidate. This
    /// reads nothing of the peer itself.
    pub fn candidate(&self, label: &HashedLabel<'_>) -> Option<&Arc<Peer>> {
        let (HostEntry(peer), ()) = self.0.get_key_value(&AnyWithHash(label.hash))?;
        Some(peer)
    }

    /// The peer of the host, in any case.
    pub fn find(&self, label: &HashedLabel<'_>) -> Option<&Arc<Peer>> {
        let host = Hostname::from_label(label.label).ok()?;
        self.get(host.as_str())
    }

    /// Inserts a peer, and replaces any other of the same host.
    pub fn insert(&mut self, peer: Arc<Peer>) {
        // The map replaces the key as well when an equal one exists.
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

impl HashedLabel<'_> {
    /// Whether the label is the name of this peer's host.
    pub fn matches(&self, peer: &Peer) -> bool {
        let host = peer.host.as_str().as_bytes();
        // Equal spelling is the usual case, and faster to test.
        host == self.label || host.eq_ignore_ascii_case(self.label)
    }
}

/// Compares as equal to every entry: the map compares only entries with the same
/// hash.
struct AnyWithHash(u64);

impl Equivalent<HostEntry> for AnyWithHash {
    fn equivalent(&self, _: &HostEntry) -> bool {
        true
    }
}

impl Hash for AnyWithHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Hashed like the name, which is the key for lookups.
impl Hash for HostEntry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host.hash(state);
    }
}

/// Hashes names with SipHash-1-3 and a random key, as the standard library does,
/// so that nobody can choose host names that collide. Hashing a name in one call
/// takes a third of the time.
#[derive(Clone, Copy)]
struct NameHash(SipHasher13);

impl Default for NameHash {
    fn default() -> Self {
        let random = RandomState::new();
        Self(SipHasher13::new_with_keys(
            random.hash_one(0),
            random.hash_one(1),
        ))
    }
}

// The key is not printed.
impl std::fmt::Debug for NameHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameHash")
    }
}

impl BuildHasher for NameHash {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher {
            key: self.0,
            hash: 0,
        }
    }
}

/// The hasher of one name.
struct NameHasher {
    key: SipHasher13,
    hash: u64,
}

impl Hasher for NameHasher {
    fn write(&mut self, octets: &[u8]) {
        self.hash = self.key.hash(octets);
    }

    /// A hash that was computed before.
    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }

    /// The terminator of a string, which is not needed: nothing follows the name.
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

    /// The map compares 32 bits of a hash, and some of so many hosts have these
    /// in common: the chance that none have is one in a hundred million.
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
            let label = hosts.hash_label(spelt.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&label).unwrap(), peer));
            assert!(Arc::ptr_eq(hosts.get(name).unwrap(), peer));
            let label = hosts.hash_label(name.as_bytes());
            assert!(Arc::ptr_eq(hosts.find(&label).unwrap(), peer));
            let likely = hosts.candidate(&label).unwrap();
            assert_eq!(label.matches(likely), Arc::ptr_eq(likely, peer));
            others += u32::from(!label.matches(likely));
        }
        assert!(others > 0, "no two hosts have the same hash");
        let label = hosts.hash_label(b"host-x");
        assert!(hosts.find(&label).is_none());
        assert!(
            hosts
                .candidate(&label)
                .is_none_or(|peer| !label.matches(peer))
        );
    }
}
