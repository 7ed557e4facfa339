//! The published state of a zone.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::stored;
use crate::{
    network::Network,
    store::Contents,
    zone::{Zone, ZoneView},
};

/// A zone and the state of its network, as everyone reads it.
#[derive(Debug)]
pub struct PublishedZone {
    pub zone: Arc<Zone>,
    view: ArcSwap<ZoneView>,
    store_state: StoreState,
}

/// The state of the store when a network was published. It is never ahead of the
/// published network: a reader that reads this first, and then the network, has a
/// network that contains all of it.
#[derive(Debug, Default)]
struct StoreState {
    /// The number of the store's last commit.
    commit: AtomicU64,
    /// The number of the last commit that changed a registration or a pin of this
    /// zone.
    changed: AtomicU64,
    /// The first serial that must not be published yet.
    reserved: AtomicU64,
}

impl PublishedZone {
    pub(super) fn new(first: ZoneView, commit: u64, changed: u64, reserved: u64) -> Self {
        Self {
            zone: first.zone.clone(),
            view: ArcSwap::from_pointee(first),
            store_state: StoreState {
                commit: commit.into(),
                changed: changed.into(),
                reserved: reserved.into(),
            },
        }
    }

    /// The current network. It does not change while it is held.
    pub fn network(&self) -> Arc<Network> {
        self.view.load().network.clone()
    }

    /// The current view of the zone.
    pub fn view(&self) -> Arc<ZoneView> {
        self.view.load_full()
    }

    /// Whether the view is the current one.
    pub fn is_current(&self, view: &Arc<ZoneView>) -> bool {
        Arc::ptr_eq(&self.view.load(), view)
    }

    /// The number of the last commit that changed a registration or a pin of the
    /// zone.
    pub fn changed(&self) -> u64 {
        self.store_state.changed.load(Ordering::Acquire)
    }

    /// The lowest serial that a dump made now may have.
    pub fn reserved(&self) -> u64 {
        self.store_state.reserved.load(Ordering::Acquire)
    }

    /// The number of the last commit of the store.
    pub fn commit(&self) -> u64 {
        self.store_state.commit.load(Ordering::Acquire)
    }

    /// The stored contents of the zone: everything up to the commit that they name, and
    /// perhaps a part of later commits.
    pub fn contents(&self) -> Contents {
        // The order matters: see `StoreState`.
        let changed = self.changed();
        let commit = self.commit();
        let network = self.network();
        let peers = network.peers();
        let pins = network.pins();
        Contents {
            registrations: peers
                .map(|peer| stored::registration(&self.zone, peer))
                .collect(),
            pins: pins
                .map(|(host, id)| stored::pin(&self.zone, host, id))
                .collect(),
            serial: self.reserved(),
            commit,
            changed,
        }
    }

    /// Notes a commit that has changed nothing of this zone.
    pub(super) fn note_commit(&self, commit: u64) {
        self.store_state.commit.store(commit, Ordering::Release);
    }

    /// Publishes a state of the network, with the state of the store.
    pub(super) fn publish(&self, network: Network, commit: u64, changed: u64, reserved: u64) {
        self.store_state.reserved.store(reserved, Ordering::Release);
        let view = self.view.load().next(Arc::new(network));
        self.view.store(Arc::new(view));
        self.store_state.commit.store(commit, Ordering::Release);
        self.store_state.changed.store(changed, Ordering::Release);
    }
}
