//! The peers, found by their hosts.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use imbl::HashMap;

use super::{Hostname, Peer};

/// A set of peers, of each host one. The name stands in the peer alone: beside
/// it in the map it would take twice the room.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(HashMap<ByHost, ()>);

/// Equal to another peer of the same host.
#[derive(Debug, Clone)]
struct ByHost(Arc<Peer>);

impl Hosts {
    /// The peer of the host of that name, in lower case.
    pub fn get(&self, host: &str) -> Option<&Arc<Peer>> {
        let (ByHost(peer), ()) = self.0.get_key_value(host)?;
        Some(peer)
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

/// As the name itself is hashed, by which it is looked up.
impl Hash for ByHost {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host.hash(state);
    }
}
