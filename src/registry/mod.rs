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
//! * `load`: from the store to a network, and back.
//! * `writer`: the thread.

mod load;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread,
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tracing::info;

use self::writer::Writer;
use crate::{
    clock::Clock,
    network::{Holder, Hostname, LeaveRefusal, Network, Peer, Refusal, Role},
    store::{Contents, Store, StoreError},
    zone::{Update, UpdateRefusal, Zone},
};

pub use self::load::{Misfit, load, misfits};

/// How many requests may wait for the writer. More are turned away at once, so
/// that a flood of new hosts takes no memory and the wait stays short.
const QUEUE: usize = 16_384;

/// A zone and the state of its network, as everyone reads it.
#[derive(Debug)]
pub struct Published {
    pub zone: Arc<Zone>,
    network: ArcSwap<Network>,
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
    /// The network as it is now; it stays as it is while it is held.
    pub fn network(&self) -> Arc<Network> {
        self.network.load_full()
    }

    /// Whether the network is still that one.
    pub fn is_current(&self, seen: &Arc<Network>) -> bool {
        Arc::ptr_eq(&self.network.load(), seen)
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
                .map(|peer| load::registration(&self.zone, peer))
                .collect(),
            pins: pins
                .map(|(host, id)| load::pin(&self.zone, host, id))
                .collect(),
            serial: self.reserved(),
            commit,
            changed,
        }
    }

    /// Publishes a state of the network, and how far the store is with it.
    fn publish(&self, network: Network, commit: u64, changed: u64, reserved: u64) {
        self.stored.reserved.store(reserved, Ordering::Release);
        self.network.store(Arc::new(network));
        self.stored.commit.store(commit, Ordering::Release);
        self.stored.changed.store(changed, Ordering::Release);
    }
}

/// What was granted, and a network with the root nodes that there were for the
/// peer at that moment: those of later requests of the same flush are not in it.
/// So of four peers that ask at once, exactly the first is told that there is no
/// root node.
#[derive(Debug)]
pub enum Granted {
    Peer {
        peer: Arc<Peer>,
        network: Arc<Network>,
        /// Whether the host was registered by this, and not known before.
        is_new: bool,
    },
    /// All that an update wanted.
    Updated,
}

/// Why nothing was granted.
#[derive(Debug)]
pub enum Denial {
    Refused(Refusal),
    CannotLeave(LeaveRefusal),
    CannotUpdate(UpdateRefusal),
    /// The store could not write; known peers are still answered.
    NotWritten,
    /// Too many requests are waiting.
    Busy,
    /// The service is stopping.
    Stopping,
}

/// What is asked of the writer.
#[derive(Debug, Clone)]
pub enum Action {
    Register {
        host: Hostname,
        role: Option<Role>,
        asker: Holder,
    },
    Leave {
        host: Hostname,
        asker: Holder,
    },
    Update(Update),
}

/// What became of a request.
pub type Decision = Result<Granted, Denial>;

struct Command {
    /// The zone's place.
    zone: usize,
    action: Action,
    /// Told what became of it, by the writer itself.
    done: Box<dyn FnOnce(Decision) + Send>,
}

/// The way to the writer.
pub struct Registry {
    zones: Vec<Arc<Published>>,
    queue: SyncSender<Command>,
}

/// A store and zone files that do not fit each other, or a store that fails.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{path}: the registrations of {zone} do not fit: {first}{}",
        match more {
            0 => String::new(),
            more => format!("; and {more} more, which `paramd check --data DIR` names"),
        }
    )]
    Misfit {
        path: String,
        zone: String,
        first: Box<Misfit>,
        more: usize,
    },
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
        let mut published = Vec::new();
        for zone in zones {
            let contents = store.load(&zone.origin_text())?;
            let stored = Stored {
                commit: contents.commit.into(),
                changed: contents.changed.into(),
                reserved: contents.serial.max(1).into(),
            };
            let network = load(&zone, contents, &clock)?;
            info!("zone {zone}: {} registered peers", network.len());
            published.push(Arc::new(Published {
                zone: Arc::new(zone),
                network: ArcSwap::from_pointee(network),
                stored,
            }));
        }
        load::warn_of_strangers(store.as_mut(), &published)?;
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
