//! The one writer.
//!
//! Requests that may change something queue up here. One thread takes all that
//! wait, lets the network decide them in order, makes what changed durable with
//! one flush, publishes the new state and only then answers. So two requests
//! for one host, or two hosts for one ID, cannot race, and nothing is answered
//! that a power cut could take back.
//!
//! Readers take the published state, which no writer ever holds up; a heartbeat
//! stores a time in the peer's lease there and does not come here.
//!
//! * `published`: the state that everyone reads.
//! * `request`: what is asked of the writer, and what becomes of it.
//! * `writer`: the thread that decides; `commit`: what it writes to the store.
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
    zone::{Environments, KEPT_OCTETS, Zone, ZoneView},
};

pub use self::{
    load::{Misfit, StartError, load, misfits},
    published::Published,
    request::{Action, Decision, Denial, Granted},
};

/// How many requests may wait for the writer. More are turned away at once, so
/// that a flood of new hosts takes no memory and the wait stays short.
const QUEUE: usize = 16_384;

/// The way to the writer.
pub struct Registry {
    zones: Vec<Arc<Published>>,
    queue: SyncSender<Command>,
}

impl Registry {
    /// Loads what is stored of the zones and starts the writer. The receiver
    /// resolves when the writer has ended: with `Ok` after the registry was
    /// dropped and all that waited was answered, with an error after a panic.
    pub fn start(
        zones: Vec<Zone>,
        mut store: Box<dyn Store>,
        clock: Clock,
    ) -> Result<(Self, oneshot::Receiver<()>), StartError> {
        let environments = Arc::new(Environments::new(KEPT_OCTETS));
        let mut published = Vec::new();
        for zone in zones {
            let contents = store.load(&zone.origin_text())?;
            let (commit, changed) = (contents.commit, contents.changed);
            let reserved = contents.serial.max(1);
            let network = load(&zone, contents, &clock)?;
            info!("zone {zone}: {} registered peers", network.len());
            let first = ZoneView::keeping(Arc::new(zone), Arc::new(network), environments.clone());
            let state = Published::new(first, commit, changed, reserved);
            published.push(Arc::new(state));
        }
        load::warn_of_unknown_zones(store.as_mut(), &published)?;
        let (queue, requests) = mpsc::sync_channel(QUEUE);
        let mut writer = Writer::new(published.clone(), store, clock);
        // Before the first answer: its serial must not have been used.
        writer.reserve_serials();
        let (ended, end) = oneshot::channel();
        thread::Builder::new()
            .name("registry".into())
            .spawn(move || {
                writer.run(&requests);
                // Nobody waits for it where the start has failed.
                let _ = ended.send(());
            })
            .map_err(|error| StoreError::Unusable {
                path: "the writer's thread".into(),
                reason: error.to_string(),
            })?;
        let zones = published;
        Ok((Self { zones, queue }, end))
    }

    pub fn zones(&self) -> &[Arc<Published>] {
        &self.zones
    }

    /// Hands a request for the zone at that place to the writer, and waits.
    pub async fn ask(&self, zone: usize, action: Action) -> Decision {
        let (sender, decision) = oneshot::channel();
        // Nobody may be waiting any more; what was decided stands.
        let submitted = self.submit(zone, action, |decision| {
            let _ = sender.send(decision);
        });
        match submitted {
            Ok(()) => decision.await.unwrap_or(Err(Denial::Stopping)),
            Err(denial) => Err(denial),
        }
    }

    /// The same without waiting: `done` is told what became of it. It is called
    /// by the writer, whom it must not keep; not at all where the writer ends
    /// before.
    pub fn submit(
        &self,
        zone: usize,
        action: Action,
        done: impl FnOnce(Decision) + Send + 'static,
    ) -> Result<(), Denial> {
        let command = Command {
            zone,
            action,
            done: Box::new(done),
        };
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Denial::Busy,
            TrySendError::Disconnected(_) => Denial::Stopping,
        })
    }
}
