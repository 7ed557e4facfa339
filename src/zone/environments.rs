//! A cache of the environments of peers, in wire format.
//!
//! To render an environment takes about 20 µs, and every peer starts with its own. So a
//! rendered environment is cached until something that it depends on changes. The
//! memory is limited: beyond the limit, entries that were not used recently are
//! evicted. A hit takes no lock and allocates nothing.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use super::Zone;
use crate::network::{Network, Peer, PeerId};

/// The maximum size of the environments of all zones. Those of the shipped zone files
/// have about 2 kB each.
pub const ENVIRONMENT_CACHE_BYTES: usize = 16 << 20;

/// The number of slots, of 24 bytes each: about twice the number of small environments
/// that fill the cache, so that few compete for a slot.
const SLOTS: usize = 1 << 15;

/// The number of slots in which an environment may be.
const WAYS: usize = 4;

/// The memory that an entry takes besides its records, in bytes.
const OVERHEAD: usize = size_of::<CacheEntry>() + 2 * size_of::<usize>();

/// A cache of environments. By default it stores nothing.
#[derive(Debug, Default)]
pub struct EnvironmentCache {
    slots: Box<[Slot]>,
    hasher: RandomState,
    state: Mutex<State>,
    max_bytes: usize,
    /// The number of the next state of a network with other inputs of environments.
    next_inputs: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    /// The hash of the key of the entry, so that a lookup rarely reads another entry.
    hash: AtomicU64,
    /// Whether the entry was used since the hand passed the slot.
    is_referenced: AtomicBool,
    entry: ArcSwapOption<CacheEntry>,
}

/// The state that only insertions use.
#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// The slot that is examined next for eviction (the CLOCK algorithm).
    hand: usize,
}

/// Everything on which the records of an environment depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    id: PeerId,
    /// Differs whenever anything about the peer differs.
    epoch: u64,
    /// The number of the [`Inputs`], which also identifies the zone.
    inputs: u64,
    /// The address at which the service was queried, if the environment names it.
    server: Option<IpAddr>,
    ttl: u32,
}

#[derive(Debug)]
struct CacheEntry {
    key: Key,
    records: u16,
    octets: Box<[u8]>,
}

impl CacheEntry {
    /// The memory that the entry takes, in bytes.
    fn size(&self) -> usize {
        self.octets.len() + OVERHEAD
    }
}

/// The parts of a network, besides the peer itself, on which the environments of a zone
/// depend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    number: u64,
    roots: Vec<(PeerId, IpAddr)>,
    /// The address of each member, and whether it is live; empty if no environment
    /// names the members.
    members: Vec<Option<(IpAddr, bool)>>,
}

impl Inputs {
    /// The inputs in one state of the network. If they are equal to those `before`, of
    /// an earlier state, they get the same number.
    pub fn of(
        zone: &Zone,
        network: &Network,
        environments: &EnvironmentCache,
        before: Option<&Self>,
    ) -> Self {
        let roots = network.root_nodes().into_iter();
        let roots = roots.map(|root| (root.id, root.holder.address)).collect();
        let uses_members = |profile: &super::Profile| profile.environment.uses("members");
        let members = if zone.profiles.iter().any(uses_members) {
            let member = |id| {
                let peer = network.peer(id)?;
                Some((peer.holder.address, network.is_live(id)))
            };
            zone.member_ids().map(member).collect()
        } else {
            Vec::new()
        };
        let same = before.filter(|inputs| inputs.roots == roots && inputs.members == members);
        let number = match same {
            Some(inputs) => inputs.number,
            None => environments.next_inputs.fetch_add(1, Ordering::Relaxed),
        };
        Self {
            number,
            roots,
            members,
        }
    }

    /// The key of the environment of a peer. `server` is `None` if it does not name the
    /// server.
    pub fn key_of(&self, peer: &Peer, server: Option<IpAddr>, ttl: u32) -> Key {
        Key {
            id: peer.id,
            epoch: peer.epoch,
            inputs: self.number,
            server,
            ttl,
        }
    }
}

impl EnvironmentCache {
    /// A cache of the given size.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            max_bytes,
            ..Self::default()
        }
    }

    /// The current size of the cache, in bytes.
    pub fn bytes(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }

    pub(super) fn hash_of(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The slots in which an environment with the hash may be.
    fn slots_of(&self, hash: u64) -> &[Slot] {
        let sets = self.slots.len() / WAYS;
        let first = (hash as usize).checked_rem(sets).unwrap_or(0) * WAYS;
        self.slots.get(first..first + WAYS).unwrap_or_default()
    }

    /// Writes a cached environment to `out`, and returns the number of its records.
    pub(super) fn write(&self, key: &Key, hash: u64, out: &mut Vec<u8>) -> Option<u16> {
        for slot in self.slots_of(hash) {
            if slot.hash.load(Ordering::Relaxed) != hash {
                continue;
            }
            if let Some(entry) = &*slot.entry.load()
                && entry.key == *key
            {
                out.extend_from_slice(&entry.octets);
                // A write would invalidate the cache line of other processors.
                if !slot.is_referenced.load(Ordering::Relaxed) {
                    slot.is_referenced.store(true, Ordering::Relaxed);
                }
                return Some(entry.records);
            }
        }
        None
    }

    /// Inserts an environment. If no slot is free, it replaces another one.
    pub(super) fn insert(&self, key: Key, hash: u64, records: u16, octets: &[u8]) {
        let entry = CacheEntry {
            key,
            records,
            octets: octets.into(),
        };
        let size = entry.size();
        let slots = self.slots_of(hash);
        if size > self.max_bytes || slots.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The environment of the peer in an earlier state is not used any more.
        let is_outdated = |slot: &&Slot| {
            let other = slot.entry.load();
            let Key { epoch, inputs, .. } = key;
            other.as_ref().is_some_and(|other| {
                key == Key {
                    epoch,
                    inputs,
                    ..other.key
                }
            })
        };
        let is_free = |slot: &&Slot| slot.entry.load().is_none();
        let is_idle = |slot: &&Slot| !slot.is_referenced.load(Ordering::Relaxed);
        let slot = slots.iter().find(is_outdated);
        let slot = slot.or_else(|| slots.iter().find(is_free));
        let slot = slot.or_else(|| slots.iter().find(is_idle));
        let slot = slot.unwrap_or(&slots[0]);
        state.bytes += size;
        slot.hash.store(hash, Ordering::Relaxed);
        slot.is_referenced.store(true, Ordering::Relaxed);
        let replaced = slot.entry.swap(Some(Arc::new(entry)));
        state.bytes -= replaced.map_or(0, |entry| entry.size());
        // An entry that was used since the hand passed it stays until the next round.
        while state.bytes > self.max_bytes {
            state.hand = (state.hand + 1) % self.slots.len();
            let slot = &self.slots[state.hand];
            if !slot.is_referenced.swap(false, Ordering::Relaxed) {
                let evicted = slot.entry.swap(None);
                state.bytes -= evicted.map_or(0, |entry| entry.size());
            }
        }
    }
}
