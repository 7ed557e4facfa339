//! The state of a zone that everyone reads.

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
pub struct Published {
    pub zone: Arc<Zone>,
    view: ArcSwap<ZoneView>,
    stored: Stored,
}

/// What is known of the store, of a state that was published at that time or
/// before: whoever reads this first, and then takes the network, has a network
/// with all of that.
#[derive(Debug, Default)]
struct Stored {
    /// The number of the store's last commit.
    commit: AtomicU64,
    /// The number of the last commit that changed a registration or a pin of this
    /// zone.
    changed: AtomicU64,
    /// The first serial that may not be published yet.
    reserved: AtomicU64,
}

impl Published {
    pub(super) fn new(first: ZoneView, commit: u64, changed: u64, reserved: u64) -> Self {
        Self {
            zone: first.zone.clone(),
            view: ArcSwap::from_pointee(first),
            stored: Stored {
                commit: commit.into(),
                changed: changed.into(),
                reserved: reserved.into(),
            },
        }
    }

    /// The network as it is now; it stays as it is while it is held.
    pub fn network(&self) -> Arc<Network> {
        self.view.load().network.clone()
    }

    /// The zone with the network as it is now.
    pub fn view(&self) -> Arc<ZoneView> {
        self.view.load_full()
    }

    /// Whether that view is still the one that is published.
    pub fn is_current(&self, seen: &Arc<ZoneView>) -> bool {
        Arc::ptr_eq(&self.view.load(), seen)
    }

    /// The number of the last commit that changed a registration or a pin of the
    /// zone.
    pub fn changed(&self) -> u64 {
        self.stored.changed.load(Ordering::Acquire)
    }

    /// The serial of which a dump that is made now must not fall short.
    pub fn reserved(&self) -> u64 {
        self.stored.reserved.load(Ordering::Acquire)
    }

    /// The number of the last commit of the store.
    pub fn commit(&self) -> u64 {
        self.stored.commit.load(Ordering::Acquire)
    }

    /// What is stored of the zone: all that was committed up to the commit that it
    /// names, and perhaps some of what was committed since.
    pub fn contents(&self) -> Contents {
        // In this order: see `Stored`.
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

    /// Publishes a state of the network, and how far the store is with it.
    pub(super) fn publish(&self, network: Network, commit: u64, changed: u64, reserved: u64) {
        self.stored.reserved.store(reserved, Ordering::Release);
        let view = self.view.load().next(Arc::new(network));
        self.view.store(Arc::new(view));
        self.stored.commit.store(commit, Ordering::Release);
        self.stored.changed.store(changed, Ordering::Release);
    }
}
