//! The environments of peers, kept as octets.
//!
//! To render one takes some 20 µs, and every peer starts with its own. So what was
//! rendered is kept until something has changed that it depends on, within a bound
//! on memory: where that is passed, what was not asked for lately goes. Whoever finds
//! an environment here takes no lock and allocates nothing.

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

/// How many octets the environments of all zones may take. Those of the zone files
/// that are shipped have some 2 kB each.
pub const KEPT_OCTETS: usize = 16 << 20;

/// How many environments there is a place for, each of 24 octets: about twice as many
/// as small ones fill the bound, so that few are in each other's way.
const PLACES: usize = 1 << 15;

/// In how many places an environment may be.
const WAYS: usize = 4;

/// What a kept environment takes besides its records, in octets.
const OVERHEAD: usize = size_of::<Kept>() + 2 * size_of::<usize>();

/// The environments that are kept.
#[derive(Debug)]
pub struct Environments {
    places: Box<[Place]>,
    hasher: RandomState,
    state: Mutex<State>,
    most: usize,
    /// The number of the next state of a network that differs in what environments
    /// depend on.
    next_inputs: AtomicU64,
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of what is kept here, so that nothing else is read in vain.
    hash: AtomicU64,
    /// Whether it was asked for since the hand has passed.
    is_asked_for: AtomicBool,
    kept: ArcSwapOption<Kept>,
}

/// What only those who keep something look at.
#[derive(Debug, Default)]
struct State {
    octets: usize,
    /// The place that is looked at next for something that can go.
    hand: usize,
}

/// What the octets of an environment depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    id: PeerId,
    /// Another one whenever anything about the peer is another.
    epoch: u64,
    /// The state of its network, and so its zone.
    inputs: u64,
    /// The address at which the service was asked, if the environment names it.
    server: Option<IpAddr>,
    ttl: u32,
}

#[derive(Debug)]
struct Kept {
    key: Key,
    records: u16,
    octets: Box<[u8]>,
}

/// What the environments of a zone depend on in one state of its network, besides
/// the peers that they are of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    number: u64,
    roots: Vec<(PeerId, IpAddr)>,
    /// The address of each member, and whether it is live; none where no environment
    /// names the members.
    members: Vec<Option<(IpAddr, bool)>>,
}

impl Inputs {
    /// Those of a state. `before` are those of an earlier one: where nothing is
    /// another, they have the same number.
    pub fn of(
        zone: &Zone,
        network: &Network,
        environments: &Environments,
        before: Option<(&Self, &Network)>,
    ) -> Self {
        let roots = network.root_nodes().into_iter();
        let roots = roots.map(|root| (root.id, root.holder.address)).collect();
        let names_members = |profile: &super::Profile| profile.environment.names("members");
        let members = match zone.profiles.iter().any(names_members) {
            true => zone
                .member_ids()
                .map(|id| {
                    let peer = network.peer(id)?;
                    Some((peer.holder.address, network.is_live(id)))
                })
                .collect(),
            false => Vec::new(),
        };
        let same = before.filter(|(inputs, _)| inputs.roots == roots && inputs.members == members);
        let number = match same {
            Some((inputs, _)) => inputs.number,
            None => environments.next_inputs.fetch_add(1, Ordering::Relaxed),
        };
        Self {
            number,
            roots,
            members,
        }
    }

    /// What the environment of a peer depends on, at a server if it names that.
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

impl Default for Environments {
    /// Keeps none.
    fn default() -> Self {
        Self::with_places(0, 0)
    }
}

impl Environments {
    /// Keeps so many octets of them.
    pub fn new(most: usize) -> Self {
        Self::with_places(PLACES, most)
    }

    fn with_places(places: usize, most: usize) -> Self {
        Self {
            places: (0..places).map(|_| Place::default()).collect(),
            hasher: RandomState::new(),
            state: Mutex::default(),
            most,
            next_inputs: AtomicU64::new(1),
        }
    }

    /// How many octets are kept.
    pub fn octets(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .octets
    }

    pub(super) fn hash_of(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Where an environment with that hash may be.
    fn places_of(&self, hash: u64) -> &[Place] {
        let sets = self.places.len() / WAYS;
        let first = (hash as usize).checked_rem(sets).unwrap_or(0) * WAYS;
        self.places.get(first..first + WAYS).unwrap_or_default()
    }

    /// Writes an environment that is kept; gives how many records it has.
    pub(super) fn write(&self, key: &Key, hash: u64, out: &mut Vec<u8>) -> Option<u16> {
        for place in self.places_of(hash) {
            if place.hash.load(Ordering::Relaxed) != hash {
                continue;
            }
            if let Some(kept) = &*place.kept.load()
                && kept.key == *key
            {
                out.extend_from_slice(&kept.octets);
                // A write would take the line from other processors.
                if !place.is_asked_for.load(Ordering::Relaxed) {
                    place.is_asked_for.store(true, Ordering::Relaxed);
                }
                return Some(kept.records);
            }
        }
        None
    }

    /// Keeps an environment, in the place of another one where there is none free.
    pub(super) fn keep(&self, key: Key, hash: u64, records: u16, octets: &[u8]) {
        let kept = Kept {
            key,
            records,
            octets: octets.into(),
        };
        let octets = kept.octets.len() + OVERHEAD;
        let places = self.places_of(hash);
        if octets > self.most || places.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody asks any more for what the peer had in an earlier state.
        let is_outdated = |place: &&Place| {
            let other = place.kept.load();
            other.as_ref().is_some_and(|other| {
                let later = Key {
                    epoch: kept.key.epoch,
                    inputs: kept.key.inputs,
                    ..other.key
                };
                later == kept.key
            })
        };
        let is_free = |place: &&Place| place.kept.load().is_none();
        let is_idle = |place: &&Place| !place.is_asked_for.load(Ordering::Relaxed);
        let place = places.iter().find(is_outdated);
        let place = place.or_else(|| places.iter().find(is_free));
        let place = place
            .or_else(|| places.iter().find(is_idle))
            .unwrap_or(&places[0]);
        state.octets += octets;
        place.hash.store(hash, Ordering::Relaxed);
        place.is_asked_for.store(true, Ordering::Relaxed);
        let before = place.kept.swap(Some(Arc::new(kept)));
        state.octets -= before.map_or(0, |before| before.octets.len() + OVERHEAD);
        // The second chance: what was asked for since the hand passed stays until it
        // comes again.
        while state.octets > self.most {
            state.hand = (state.hand + 1) % self.places.len();
            let place = &self.places[state.hand];
            if !place.is_asked_for.swap(false, Ordering::Relaxed) {
                let gone = place.kept.swap(None);
                state.octets -= gone.map_or(0, |gone| gone.octets.len() + OVERHEAD);
            }
        }
    }
}
