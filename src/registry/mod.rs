//! The one writer.
//!
//! Requests that may change something are queued here. One thread takes all waiting
//! requests, lets the network decide them in order, makes the changes durable with one
//! flush, publishes the new state and only then answers. So two requests for one host,
//! or two hosts for one ID, cannot race, and a power failure cannot undo anything that
//! was answered.
//!
//! Readers use the published state and never wait for the writer; a heartbeat stores a
//! time in the lease of a peer there and needs no request.
//!
//! * `published`: the state that everyone reads.
//! * `request`: requests to the writer, and their results.
//! * `roles`: the thread, which is the writer or follows another replica's.
//! * `writer`: decides; `commit`: its writes to the store; `changes`: its log; `shared`: which leases have
//!   ended, for replicas; `coverage`: what replicas have heard; `withheld`: which
//!   released IDs they may still answer for.
//! * `follower`: publishes what the writer has stored (`apply`), and passes requests on;
//!   `replication`: the form in which they are passed on.
//! * `load`: from the store to a network; `stored`: from the network to the store.

mod apply;
mod changes;
mod commit;
mod coverage;
mod follower;
mod load;
mod published;
mod replication;
mod request;
mod roles;
mod shared;
mod stored;
mod withheld;
mod writer;

use std::{
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::info;

use self::{
    follower::Follower,
    request::Command,
    roles::{Input, RegistryThread, Role},
    shared::EndedLeases,
    writer::Writer,
};
use crate::{
    clock::Clock,
    network::Network,
    store::{Store, StoreError, replication::Stored},
    text::counted,
    zone::{ENVIRONMENT_CACHE_BYTES, EnvironmentCache, Zone, ZoneView},
};

pub use self::{
    coverage::{Coverage, DRIFT, Reporter, Vouching},
    load::{Misfit, StartError, load, misfits},
    published::PublishedZone,
    replication::{Decided, Forwarded, ForwardedAction, NamedDenial, Outcome},
    request::{Action, Decision, Denial, Grant},
    roles::Event,
};

/// The number of requests that may wait for the writer. More are refused immediately, so
/// that a flood of new hosts takes no memory and the wait stays short.
const QUEUE: usize = 16_384;

/// A handle to the writer and the published zones.
#[derive(Clone)]
pub struct Registry {
    zones: Arc<[Arc<PublishedZone>]>,
    queue: SyncSender<Input>,
    vouching: Arc<Vouching>,
    /// Whether the store has registrations of a zone without a zone file.
    lacks_zones: bool,
}

impl Registry {
    /// Loads the stored state of the zones and starts the writer. The receiver resolves
    /// when the writer has ended: with `Ok` after the registry was dropped and all
    /// waiting requests were answered, with an error after a panic.
    pub fn start(
        zones: Vec<Zone>,
        mut store: Box<dyn Store>,
        clock: Clock,
    ) -> Result<(Self, oneshot::Receiver<()>), StartError> {
        let environments = Arc::new(EnvironmentCache::new(ENVIRONMENT_CACHE_BYTES));
        let mut published = Vec::new();
        for zone in zones {
            let contents = store.load(&zone.origin_text())?;
            let (commit, changed) = (contents.commit, contents.changed);
            let reserved = contents.serial.max(1);
            let network = load(&zone, contents, &clock)?;
            info!("zone {zone}: {}", counted(network.len(), "registered peer"));
            let first =
                ZoneView::with_cache(Arc::new(zone), Arc::new(network), environments.clone());
            let state = PublishedZone::new(first, commit, changed, reserved);
            published.push(Arc::new(state));
        }
        let stored = store.origins()?;
        let lacks_zones = load::warn_of_unknown_zones(stored, &published);
        let mut writer = Writer::new(published.clone(), store, clock.clone());
        // This precedes the first answer, whose serial must not have been used before.
        writer.reserve_serials();
        let role = Role::Writer(Box::new(writer));
        Self::spawn(published, role, clock, Vouching::always(), lacks_zones)
    }

    /// Starts the registry of a replica with everything that is stored. It follows the
    /// writer until an [`Event`] says that it is the writer itself.
    pub fn join(
        zones: Vec<Zone>,
        mut stored: Stored,
        clock: Clock,
    ) -> Result<(Self, oneshot::Receiver<()>), StartError> {
        let environments = Arc::new(EnvironmentCache::new(ENVIRONMENT_CACHE_BYTES));
        let mut published = Vec::new();
        let mut ended = EndedLeases::default();
        for (place, zone) in zones.into_iter().enumerate() {
            let change = stored.zones.remove(&zone.origin_text()).unwrap_or_default();
            let (serial, changed) = (change.serial.unwrap_or(0), change.changed.unwrap_or(0));
            let mut network = Network::new(zone.rules.clone(), 1);
            let now = clock.now();
            let misfits = apply::apply(&zone, place, &mut network, change, &mut ended, serial, now);
            load::refuse(&zone, misfits)?;
            info!("zone {zone}: {}", counted(network.len(), "registered peer"));
            let first =
                ZoneView::with_cache(Arc::new(zone), Arc::new(network), environments.clone());
            let state = PublishedZone::new(first, stored.commit, changed, serial);
            published.push(Arc::new(state));
        }
        let others = stored.zones.into_iter();
        let others = others.filter(|(_, zone)| zone.names_peers());
        let others = others.map(|(origin, _)| origin);
        let lacks_zones = load::warn_of_unknown_zones(others, &published);
        let follower = Follower::new(published.clone(), ended, stored.commit);
        let role = Role::Follower(follower);
        Self::spawn(published, role, clock, Vouching::not_yet(), lacks_zones)
    }

    fn spawn(
        zones: Vec<Arc<PublishedZone>>,
        role: Role,
        clock: Clock,
        vouching: Vouching,
        lacks_zones: bool,
    ) -> Result<(Self, oneshot::Receiver<()>), StartError> {
        let (queue, inputs) = mpsc::sync_channel(QUEUE);
        let (ended, end) = oneshot::channel();
        let vouching = Arc::new(vouching);
        let thread = RegistryThread {
            vouching: vouching.clone(),
            zones: zones.clone(),
            vouched: vouching.is_valid(clock.now()),
            role,
            clock,
        };
        thread::Builder::new()
            .name("registry".into())
            .spawn(move || {
                thread.run(&inputs);
                // Nobody receives it if the start has failed.
                let _ = ended.send(());
            })
            .map_err(|error| StoreError::Unusable {
                path: "the thread of the registry".into(),
                reason: error.to_string(),
            })?;
        let registry = Self {
            zones: zones.into(),
            queue,
            vouching,
            lacks_zones,
        };
        Ok((registry, end))
    }

    pub fn zones(&self) -> &[Arc<PublishedZone>] {
        &self.zones
    }

    /// Whether the store has registrations of a zone without a zone file.
    pub fn lacks_zones(&self) -> bool {
        self.lacks_zones
    }

    /// Until when this service may renew leases and answer for it.
    pub fn vouching(&self) -> &Arc<Vouching> {
        &self.vouching
    }

    /// Tells the registry what a replica has learned. Waits while very many requests
    /// are waiting. Returns whether the registry is running.
    pub async fn notify(&self, mut event: Event) -> bool {
        loop {
            match self.queue.try_send(Input::Event(event)) {
                Ok(()) => return true,
                Err(TrySendError::Full(Input::Event(returned))) => event = returned,
                Err(_) => return false,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a request for the zone with the index to the writer, and waits for its
    /// decision.
    pub async fn request(&self, zone: usize, action: Action) -> Decision {
        let (sender, decision) = oneshot::channel();
        // The receiver may be gone; the decision is valid nevertheless.
        let submitted = self.submit(zone, action, |decision| {
            let _ = sender.send(decision);
        });
        match submitted {
            Ok(()) => decision.await.unwrap_or(Err(Denial::Stopping)),
            Err(denial) => Err(denial),
        }
    }

    /// Like [`request`](Self::request), without waiting: the writer calls `reply` with
    /// its decision. `reply` must not block. It is not called if the writer ends before.
    pub fn submit(
        &self,
        zone: usize,
        action: Action,
        reply: impl FnOnce(Decision) + Send + 'static,
    ) -> Result<(), Denial> {
        let command = Command {
            zone,
            action,
            reply: Box::new(reply),
        };
        let sent = self.queue.try_send(Input::Command(command));
        sent.map_err(|error| match error {
            TrySendError::Full(_) => Denial::Busy,
            TrySendError::Disconnected(_) => Denial::Stopping,
        })
    }
}
