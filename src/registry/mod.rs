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
//! * `writer`: the thread that decides; `commit`: its writes to the store.
//! * `load`: from the store to a network; `stored`: from the network to the store.

mod commit;
mod load;
mod published;
mod request;
mod stored;
mod writer;

use std::{
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread,
};

use tokio::sync::oneshot;
use tracing::info;

use self::{request::Command, writer::Writer};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
    text::counted,
    zone::{ENVIRONMENT_CACHE_BYTES, EnvironmentCache, Zone, ZoneView},
};

pub use self::{
    load::{Misfit, StartError, load, misfits},
    published::PublishedZone,
    request::{Action, Decision, Denial, Grant},
};

/// The number of requests that may wait for the writer. More are refused immediately, so
/// that a flood of new hosts takes no memory and the wait stays short.
const QUEUE: usize = 16_384;

/// A handle to the writer and the published zones.
pub struct Registry {
    zones: Vec<Arc<PublishedZone>>,
    queue: SyncSender<Command>,
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
        load::warn_of_unknown_zones(store.as_mut(), &published)?;
        let (queue, requests) = mpsc::sync_channel(QUEUE);
        let mut writer = Writer::new(published.clone(), store, clock);
        // This precedes the first answer, whose serial must not have been used before.
        writer.reserve_serials();
        let (ended, end) = oneshot::channel();
        thread::Builder::new()
            .name("registry".into())
            .spawn(move || {
                writer.run(&requests);
                // Nobody receives it if the start has failed.
                let _ = ended.send(());
            })
            .map_err(|error| StoreError::Unusable {
                path: "the writer's thread".into(),
                reason: error.to_string(),
            })?;
        let zones = published;
        Ok((Self { zones, queue }, end))
    }

    pub fn zones(&self) -> &[Arc<PublishedZone>] {
        &self.zones
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
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Denial::Busy,
            TrySendError::Disconnected(_) => Denial::Stopping,
        })
    }
}
