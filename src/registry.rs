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

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use crate::{
    clock::Clock,
    network::{
        Change, Holder, Hostname, LeaveRefusal, Network, Peer, PeerId, Refusal, Role, Sequence,
    },
    store::{Contents, Registration, Store, StoreError, Write},
    zone::Zone,
};

/// How many requests may wait for the writer. More are turned away at once, so
/// that a flood of new hosts takes no memory and the wait stays short.
const QUEUE: usize = 8_192;

/// How many requests share one flush at the most.
const BATCH: usize = 4_096;

/// How many serials are reserved on disk ahead of use. The serial also rises
/// when a lease ends, which writes nothing; after a restart it goes on from the
/// end of the reserved ones.
const SERIALS: u64 = 1 << 16;

/// Up to how many changes of one commit have a line each in the log.
const LOGGED_ALONE: usize = 16;

/// The writer looks for leases that have run out no more often than this.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// And no less often than this.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// A zone and the state of its network, as everyone reads it.
#[derive(Debug)]
pub struct Published {
    pub zone: Arc<Zone>,
    network: ArcSwap<Network>,
}

impl Published {
    /// The network as it is now; it stays as it is while it is held.
    pub fn network(&self) -> Arc<Network> {
        self.network.load_full()
    }
}

/// What was granted, and the network at that moment: later requests of the same
/// flush are not in it. So of four peers that ask at once, exactly the first is
/// told that there is no root node.
#[derive(Debug)]
pub struct Granted {
    pub peer: Arc<Peer>,
    pub network: Network,
}

/// Why nothing was granted.
#[derive(Debug)]
pub enum Denial {
    Refused(Refusal),
    CannotLeave(LeaveRefusal),
    /// The store could not write; known peers are still answered.
    NotWritten,
    /// Too many requests are waiting, or the service is stopping.
    Busy,
}

/// What is asked of the writer.
#[derive(Debug, Clone)]
pub enum Request {
    Register {
        host: Hostname,
        role: Option<Role>,
        asker: Holder,
    },
    Leave {
        host: Hostname,
        asker: Holder,
    },
}

struct Command {
    /// The zone's place.
    zone: usize,
    request: Request,
    reply: oneshot::Sender<Result<Granted, Denial>>,
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
    #[error("{path}: the registrations of {zone} do not fit: {reason}; {remedy}")]
    Misfit {
        path: String,
        zone: String,
        reason: String,
        remedy: &'static str,
    },
}

impl Registry {
    /// Loads what is stored of the zones and starts the writer. The handle
    /// ends when the registry is dropped and all that waited is answered.
    pub fn start(
        zones: Vec<Zone>,
        mut store: Box<dyn Store>,
        clock: Clock,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let mut published = Vec::new();
        let mut reserved = Vec::new();
        for zone in zones {
            let contents = store.load(&zone.origin_text())?;
            let serial = contents.serial.max(1);
            let network = load(&zone, contents, clock)?;
            info!("zone {zone}: {} registered peers", network.len());
            reserved.push(serial);
            published.push(Arc::new(Published {
                zone: Arc::new(zone),
                network: ArcSwap::from_pointee(network),
            }));
        }
        warn_of_strangers(store.as_mut(), &published)?;
        let (queue, requests) = mpsc::sync_channel(QUEUE);
        let mut writer = Writer {
            zones: published.clone(),
            store,
            clock,
            reserved,
            doubtful: BTreeSet::new(),
            failing: false,
        };
        // Before the first answer: its serial must not have been used.
        let networks = writer.networks();
        writer.commit(&networks, &[]);
        let thread = thread::Builder::new()
            .name("registry".into())
            .spawn(move || writer.run(&requests))
            .map_err(|error| StoreError::Unusable {
                path: "the writer's thread".into(),
                reason: error.to_string(),
            })?;
        let zones = published;
        Ok((Self { zones, queue }, thread))
    }

    pub fn zones(&self) -> &[Arc<Published>] {
        &self.zones
    }

    /// Hands a request for the zone at that place to the writer.
    pub async fn ask(&self, zone: usize, request: Request) -> Result<Granted, Denial> {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            zone,
            request,
            reply,
        };
        match self.queue.try_send(command) {
            Ok(()) => answer.await.unwrap_or(Err(Denial::Busy)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Denial::Busy),
        }
    }
}

/// The network as it is stored.
pub fn load(zone: &Zone, contents: Contents, clock: Clock) -> Result<Network, StartError> {
    let misfit = |reason: String, remedy| StartError::Misfit {
        path: zone.path.display().to_string(),
        zone: zone.to_string(),
        reason,
        remedy,
    };
    let mut peers = Vec::with_capacity(contents.registrations.len());
    for registration in contents.registrations {
        let Registration {
            host,
            sequence,
            number,
            role,
            source,
            address,
        } = registration;
        let unknown = |what: &str| {
            misfit(
                format!("{host} has {what}, which the zone file does not have"),
                "write it again, or release the host with `paramd release`",
            )
        };
        let hostname: Hostname = host
            .parse()
            .map_err(|_| unknown("a name that no host may have"))?;
        let place = zone
            .rules
            .sequences
            .iter()
            .position(|rule| rule.name == sequence);
        let place = place.ok_or_else(|| unknown(&format!("an ID of the sequence {sequence}")))?;
        let role_place = zone.rules.role_named(&role);
        let role = role_place.ok_or_else(|| unknown(&format!("the role {role}")))?;
        let id = PeerId {
            sequence: Sequence(place as u16),
            number,
        };
        peers.push((hostname, id, role, Holder { source, address }));
    }
    let serial = contents.serial.max(1);
    Network::restore(zone.rules.clone(), serial, peers, clock.now()).map_err(|conflict| {
        misfit(
            conflict.to_string(),
            "raise n or the limit again, or release the host with `paramd release`",
        )
    })
}

/// Says which zones are stored that no zone file describes; they are kept.
fn warn_of_strangers(store: &mut dyn Store, zones: &[Arc<Published>]) -> Result<(), StoreError> {
    for origin in store.origins()? {
        if !zones.iter().any(|known| known.zone.origin_text() == origin) {
            warn!("the store has registrations of {origin}, but no zone file does: they are kept");
        }
    }
    Ok(())
}

/// What a peer's registration looks like in the store.
pub fn registration(zone: &Zone, peer: &Peer) -> Registration {
    Registration {
        host: peer.host.to_string(),
        sequence: zone.rules.sequence(peer.id.sequence).name.clone(),
        number: peer.id.number,
        role: zone.rules.role(peer.role).name.clone(),
        source: peer.holder.source,
        address: peer.holder.address,
    }
}

struct Writer {
    zones: Vec<Arc<Published>>,
    store: Box<dyn Store>,
    clock: Clock,
    /// By zone: the first serial that may not be published yet.
    reserved: Vec<u64>,
    /// Hosts of which a failed commit may have written something. What the
    /// network says of them goes into the next commit.
    doubtful: BTreeSet<(usize, Hostname)>,
    /// Whether the last commit failed, so that the log says it once.
    failing: bool,
}

type Decision = Result<Granted, Denial>;

impl Writer {
    fn run(mut self, requests: &Receiver<Command>) {
        loop {
            match requests.recv_timeout(self.wait()) {
                Ok(first) => {
                    let waiting = requests.try_iter().take(BATCH - 1);
                    let commands = std::iter::once(first).chain(waiting).collect();
                    self.serve(commands);
                }
                Err(RecvTimeoutError::Timeout) => self.expire(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long until some lease may have run out.
    fn wait(&self) -> Duration {
        let networks = self.zones.iter().map(|published| published.network());
        let deadline = networks.filter_map(|network| network.next_deadline()).min();
        let wait = deadline.map_or(MOST_WAIT, |deadline| {
            Duration::from_millis(deadline.0.saturating_sub(self.clock.now().0))
        });
        wait.clamp(LEAST_WAIT, MOST_WAIT)
    }

    fn networks(&self) -> Vec<Network> {
        let clone = |published: &Arc<Published>| Network::clone(&published.network());
        self.zones.iter().map(clone).collect()
    }

    fn publish(&self, networks: Vec<Network>) {
        for (published, network) in self.zones.iter().zip(networks) {
            published.network.store(Arc::new(network));
        }
    }

    /// Ends the leases that have run out.
    fn expire(&mut self) {
        let now = self.clock.now();
        let mut networks = self.networks();
        for (network, published) in networks.iter_mut().zip(&self.zones) {
            let live = network.live_len();
            network.expire(now);
            let ended = live - network.live_len();
            if ended > 0 {
                info!("zone {}: {ended} leases have run out", published.zone);
            }
        }
        if self.wants_serials(&networks) {
            self.commit(&networks, &[]);
        }
        self.publish(networks);
    }

    /// Decides all commands, commits them together, and answers.
    fn serve(&mut self, commands: Vec<Command>) {
        let mut networks = self.networks();
        let mut changes = Vec::new();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in &commands {
            let place = command.zone;
            let mut own = Vec::new();
            decisions.push(self.decide(command, &mut networks[place], &mut own));
            changes.extend(own.into_iter().map(|change| (place, change)));
        }
        let nothing_to_write = changes.is_empty() && !self.wants_serials(&networks);
        if nothing_to_write || self.commit(&networks, &changes) || changes.is_empty() {
            self.log(&changes);
        } else {
            (networks, decisions) = self.decide_without_disk(&commands);
        }
        self.publish(networks);
        for (command, decision) in commands.into_iter().zip(decisions) {
            // Nobody may be waiting any more; what was decided stands.
            let _ = command.reply.send(decision);
        }
    }

    fn decide(
        &self,
        command: &Command,
        network: &mut Network,
        changes: &mut Vec<Change>,
    ) -> Decision {
        let now = self.clock.now();
        let peer = match &command.request {
            Request::Register { host, role, asker } => network
                .register(now, host, *role, *asker, changes)
                .map_err(Denial::Refused)?,
            Request::Leave { host, asker } => network
                .leave(now, host, *asker)
                .map_err(Denial::CannotLeave)?,
        };
        let network = network.clone();
        Ok(Granted { peer, network })
    }

    /// The disk takes nothing: grants what needs none, refuses the rest.
    fn decide_without_disk(&self, commands: &[Command]) -> (Vec<Network>, Vec<Decision>) {
        let mut networks = self.networks();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in commands {
            let network = &mut networks[command.zone];
            let before = network.clone();
            let mut changes = Vec::new();
            let decision = self.decide(command, network, &mut changes);
            decisions.push(if changes.is_empty() {
                decision
            } else {
                *network = before;
                Err(Denial::NotWritten)
            });
        }
        (networks, decisions)
    }

    fn wants_serials(&self, networks: &[Network]) -> bool {
        let mut pairs = networks.iter().zip(&self.reserved);
        pairs.any(|(network, reserved)| network.revision() + SERIALS / 2 > *reserved)
    }

    /// Makes the changes durable; says whether they are.
    fn commit(&mut self, networks: &[Network], changes: &[(usize, Change)]) -> bool {
        if !self.doubtful.is_empty() && !self.settle_doubts() {
            return false;
        }
        let mut writes: Vec<Write> = changes
            .iter()
            .map(|(place, change)| match change {
                Change::Put(peer) => self.put(*place, peer),
                Change::Delete(host) => self.delete(*place, host),
            })
            .collect();
        let mut reserved = self.reserved.clone();
        for (place, network) in networks.iter().enumerate() {
            if network.revision() + SERIALS / 2 > reserved[place] {
                reserved[place] = network.revision() + SERIALS;
                writes.push(Write::Serial {
                    origin: self.zones[place].zone.origin_text(),
                    serial: reserved[place],
                });
            }
        }
        let written = self.write(&writes);
        if written {
            self.reserved = reserved;
        } else {
            self.doubtful.extend(changes.iter().map(|(place, change)| {
                let host = match change {
                    Change::Put(peer) => &peer.host,
                    Change::Delete(host) => host,
                };
                (*place, host.clone())
            }));
        }
        written
    }

    /// Writes what the network says of the hosts that a failed commit may have
    /// written otherwise. First of all, so that there are never more of them
    /// than one commit had.
    fn settle_doubts(&mut self) -> bool {
        let doubtful = self.doubtful.iter().map(|(place, host)| {
            match self.zones[*place].network().host(host) {
                Some(peer) => self.put(*place, peer),
                None => self.delete(*place, host),
            }
        });
        let writes: Vec<Write> = doubtful.collect();
        let settled = self.write(&writes);
        if settled {
            self.doubtful.clear();
        }
        settled
    }

    fn write(&mut self, writes: &[Write]) -> bool {
        match self.store.commit(writes) {
            Ok(()) => {
                if self.failing {
                    info!("the store can write again");
                }
                self.failing = false;
                true
            }
            Err(error) => {
                if !self.failing {
                    error!("{error}; until it can, only known peers are answered");
                }
                self.failing = true;
                false
            }
        }
    }

    fn put(&self, place: usize, peer: &Peer) -> Write {
        let zone = &self.zones[place].zone;
        Write::Put {
            origin: zone.origin_text(),
            registration: registration(zone, peer),
        }
    }

    fn delete(&self, place: usize, host: &Hostname) -> Write {
        Write::Delete {
            origin: self.zones[place].zone.origin_text(),
            host: host.to_string(),
        }
    }

    /// A line for each change; of a storm of them one line in all.
    fn log(&self, changes: &[(usize, Change)]) {
        if changes.len() > LOGGED_ALONE {
            info!(
                "{} registrations at once (shown with --log debug)",
                changes.len()
            );
        }
        for (place, change) in changes {
            let zone = &self.zones[*place].zone;
            let line = || match change {
                Change::Put(peer) => format!(
                    "zone {zone}: {} is {} at {}",
                    peer.host,
                    zone.rules.id_text(peer.id),
                    peer.holder.address
                ),
                Change::Delete(host) => format!("zone {zone}: {host} has lost its ID"),
            };
            match changes.len() > LOGGED_ALONE {
                true => debug!("{}", line()),
                false => info!("{}", line()),
            }
        }
    }
}
