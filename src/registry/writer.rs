//! The writer's thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tracing::{debug, error, info};

use super::{
    Action, Command, Decision, Denial, Granted, Published,
    load::{pin, registration},
};
use crate::{
    clock::{Clock, Moment},
    network::{Change, Hostname, Network, Peer, PeerId, Time},
    store::{Store, Write},
};

/// How many requests share one flush at the most.
const BATCH: usize = 4_096;

/// How many serials are reserved on disk ahead of use. The serial also rises
/// when a lease ends, which writes nothing; after a restart it goes on from the
/// end of the reserved ones.
const SERIALS: u64 = 1 << 16;

/// Up to how many changes of one commit have a line each in the log.
const LOGGED_ALONE: usize = 16;

/// How many leases of a zone are looked at before requests are served again, or
/// the others have the processor: a few milliseconds' worth. After a start all of
/// them may run out at once.
const LOOKS: usize = 4_096;

/// The writer looks for leases that have run out no more often than this.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// And no less often than this.
const MOST_WAIT: Duration = Duration::from_millis(250);

pub(super) struct Writer {
    zones: Vec<Arc<Published>>,
    /// By zone: the origin as the store has it.
    origins: Vec<Arc<str>>,
    store: Box<dyn Store>,
    clock: Clock,
    /// By zone: the first serial that may not be published yet.
    reserved: Vec<u64>,
    /// By zone: the last commit that changed a registration or a pin.
    changed: Vec<u64>,
    /// The last commit of the store.
    committed: u64,
    /// Hosts of which a failed commit may have written something, and the IDs
    /// that it was about. What the network says of them goes into the next
    /// commit.
    doubtful: BTreeMap<(usize, Hostname), BTreeSet<PeerId>>,
    /// Whether the last commit failed, so that the log says it once.
    failing: bool,
}

impl Writer {
    pub fn new(zones: Vec<Arc<Published>>, store: Box<dyn Store>, clock: Clock) -> Self {
        let origins = zones.iter().map(|it| it.zone.origin_text().into());
        let commits = zones.iter().map(|it| it.commit());
        Self {
            origins: origins.collect(),
            reserved: zones.iter().map(|it| it.reserved()).collect(),
            changed: zones.iter().map(|it| it.changed()).collect(),
            committed: commits.max().unwrap_or(0),
            zones,
            store,
            clock,
            doubtful: BTreeMap::new(),
            failing: false,
        }
    }

    /// Reserves serials for all zones.
    pub fn reserve_serials(&mut self) {
        let networks = self.networks();
        self.commit(&networks, &[]);
        self.publish(networks);
    }

    /// Serves requests until all who could make one are gone.
    pub fn run(mut self, requests: &Receiver<Command>) {
        let tick = self.clock.register_loop();
        loop {
            let received = requests.recv_timeout(self.wait());
            tick.tick();
            match received {
                Ok(first) => {
                    let waiting = requests.try_iter().take(BATCH - 1);
                    let commands = std::iter::once(first).chain(waiting).collect();
                    // Also when one zone is so busy that nobody ever waits.
                    if self
                        .deadline()
                        .is_some_and(|deadline| deadline <= self.clock.now())
                    {
                        self.expire();
                    }
                    self.serve(commands);
                }
                Err(RecvTimeoutError::Timeout) => self.expire(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long until some lease may have run out.
    fn wait(&self) -> Duration {
        let wait = self.deadline().map_or(MOST_WAIT, |deadline| {
            Duration::from_millis(deadline.0.saturating_sub(self.clock.now().0))
        });
        wait.clamp(LEAST_WAIT, MOST_WAIT)
    }

    fn deadline(&self) -> Option<Time> {
        let networks = self.zones.iter().map(|published| published.network());
        networks.filter_map(|network| network.next_deadline()).min()
    }

    fn published(&self) -> Vec<Arc<Network>> {
        let zones = self.zones.iter();
        zones.map(|published| published.network()).collect()
    }

    fn networks(&self) -> Vec<Network> {
        let published = self.published().into_iter();
        published.map(|network| Network::clone(&network)).collect()
    }

    fn publish(&self, networks: Vec<Network>) {
        for (place, network) in networks.into_iter().enumerate() {
            let (changed, reserved) = (self.changed[place], self.reserved[place]);
            self.zones[place].publish(network, self.committed, changed, reserved);
        }
    }

    /// Ends the leases that have run out, in every zone.
    fn expire(&mut self) {
        let moment = self.clock.moment();
        let mut networks = self.networks();
        for (network, published) in networks.iter_mut().zip(&self.zones) {
            let live = network.live_len();
            network.resume(moment.heard_since);
            network.expire(moment.now, LOOKS);
            let ended = live - network.live_len();
            if ended > 0 {
                info!("zone {}: {ended} leases have run out", published.zone);
            }
        }
        // Reserved before anyone sees them: after a crash the serial goes on
        // from those that are reserved.
        if self.wants_serials(&networks) {
            self.commit(&networks, &[]);
        }
        self.publish(networks);
    }

    /// Decides all commands, commits them together, and answers.
    fn serve(&mut self, commands: Vec<Command>) {
        let moment = self.clock.moment();
        let mut networks = self.networks();
        let mut shown = self.published();
        let mut changes = Vec::new();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in &commands {
            let place = command.zone;
            let mut own = Vec::new();
            let network = &mut networks[place];
            let decision = self.decide(command, moment, network, &mut shown[place], &mut own);
            decisions.push(decision);
            changes.extend(own.into_iter().map(|change| (place, change)));
        }
        let must_write = !changes.is_empty() || commands.iter().any(|it| self.is_doubtful(it));
        let may_write = must_write || self.wants_serials(&networks);
        if !may_write || self.commit(&networks, &changes) || !must_write {
            self.log(&changes);
        } else {
            (networks, decisions) = self.decide_without_disk(&commands, moment);
        }
        self.publish(networks);
        for (command, decision) in commands.into_iter().zip(decisions) {
            (command.done)(decision);
        }
    }

    /// `shown` is the state from which the last answer is made. A clone of the
    /// network for each answer would make each command copy all that it changes.
    fn decide(
        &self,
        command: &Command,
        moment: Moment,
        network: &mut Network,
        shown: &mut Arc<Network>,
        changes: &mut Vec<Change>,
    ) -> Decision {
        let now = moment.now;
        network.resume(moment.heard_since);
        let mut is_new = false;
        let peer = match &command.action {
            Action::Register { host, role, asker } => {
                is_new = network.host(host).is_none();
                network
                    .register(now, host, *role, *asker, changes)
                    .map_err(Denial::Refused)?
            }
            Action::Leave { host, asker } => network
                .leave(now, host, *asker)
                .map_err(Denial::CannotLeave)?,
            Action::Update(update) => {
                let before = network.clone();
                let zone = &self.zones[command.zone].zone;
                // All of it or nothing (RFC 2136, section 3.7).
                zone.apply(update, network, changes).map_err(|refusal| {
                    *network = before;
                    changes.clear();
                    Denial::CannotUpdate(refusal)
                })?;
                return Ok(Granted::Updated);
            }
        };
        if !network.has_roots_of(shown, &peer) {
            *shown = Arc::new(network.clone());
        }
        Ok(Granted::Peer {
            peer,
            network: shown.clone(),
            is_new,
        })
    }

    /// The disk takes nothing: grants what needs none, refuses the rest.
    fn decide_without_disk(
        &self,
        commands: &[Command],
        moment: Moment,
    ) -> (Vec<Network>, Vec<Decision>) {
        let mut networks = self.networks();
        let mut shown = self.published();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in commands {
            let network = &mut networks[command.zone];
            let before = network.clone();
            let mut changes = Vec::new();
            let shown = &mut shown[command.zone];
            let decision = self.decide(command, moment, network, shown, &mut changes);
            decisions.push(if changes.is_empty() && !self.is_doubtful(command) {
                decision
            } else {
                *network = before;
                Err(Denial::NotWritten)
            });
        }
        (networks, decisions)
    }

    /// Whether the disk may say otherwise of the host than the network does. Who
    /// was answered nevertheless could be given another ID after a restart.
    fn is_doubtful(&self, command: &Command) -> bool {
        match &command.action {
            Action::Register { host, .. } | Action::Leave { host, .. } => {
                !self.doubtful.is_empty()
                    && self.doubtful.contains_key(&(command.zone, host.clone()))
            }
            // Whatever hosts it concerns.
            Action::Update(_) => !self.doubtful.is_empty(),
        }
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
                Change::Delete(host, id) => self.delete(*place, host, *id),
                Change::Pin(host, id) => self.pin(*place, host, *id),
                Change::Unpin(host) => self.unpin(*place, host),
            })
            .collect();
        let mut reserved = self.reserved.clone();
        for (place, network) in networks.iter().enumerate() {
            if network.revision() + SERIALS / 2 > reserved[place] {
                reserved[place] = network.revision() + SERIALS;
                writes.push(Write::Serial {
                    origin: self.origins[place].clone(),
                    serial: reserved[place],
                });
            }
        }
        let written = self.write(&writes);
        if written {
            self.reserved = reserved;
            for (place, _) in changes {
                self.changed[*place] = self.committed;
            }
        } else {
            for (place, change) in changes {
                let host = change.host().clone();
                let ids = self.doubtful.entry((*place, host)).or_default();
                ids.extend(change.id());
            }
        }
        written
    }

    /// Writes what the network says of the hosts that a failed commit may have
    /// written otherwise. First of all, so that there are never more of them
    /// than one commit had.
    fn settle_doubts(&mut self) -> bool {
        let mut writes = Vec::new();
        for ((place, host), ids) in &self.doubtful {
            let network = self.zones[*place].network();
            let peer = network.host(host);
            let others = ids.iter().filter(|id| peer.is_none_or(|it| it.id != **id));
            writes.extend(others.map(|id| self.delete(*place, host, *id)));
            writes.extend(peer.map(|peer| self.put(*place, peer)));
            writes.push(match network.pinned(host) {
                Some(id) => self.pin(*place, host, id),
                None => self.unpin(*place, host),
            });
        }
        let settled = self.write(&writes);
        if settled {
            self.doubtful.clear();
        }
        settled
    }

    fn write(&mut self, writes: &[Write]) -> bool {
        match self.store.commit(writes) {
            Ok(number) => {
                self.committed = number;
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
        Write::Put {
            origin: self.origins[place].clone(),
            registration: registration(&self.zones[place].zone, peer),
        }
    }

    fn delete(&self, place: usize, host: &Hostname, id: PeerId) -> Write {
        let rules = &self.zones[place].zone.rules;
        Write::Delete {
            origin: self.origins[place].clone(),
            host: host.to_string(),
            sequence: rules.sequence(id.sequence).name.clone(),
            number: id.number,
        }
    }

    fn pin(&self, place: usize, host: &Hostname, id: PeerId) -> Write {
        Write::Pin {
            origin: self.origins[place].clone(),
            pin: pin(&self.zones[place].zone, host, id),
        }
    }

    fn unpin(&self, place: usize, host: &Hostname) -> Write {
        Write::Unpin {
            origin: self.origins[place].clone(),
            host: host.to_string(),
        }
    }

    /// A line for each change; of a storm of them one line in all.
    fn log(&self, changes: &[(usize, Change)]) {
        if changes.len() > LOGGED_ALONE {
            info!("{} changes at once (shown with --log debug)", changes.len());
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
                Change::Delete(host, _) => format!("zone {zone}: {host} has lost its ID"),
                Change::Pin(host, id) => {
                    format!(
                        "zone {zone}: {} is kept for {host}",
                        zone.rules.id_text(*id)
                    )
                }
                Change::Unpin(host) => format!("zone {zone}: no ID is kept for {host} any more"),
            };
            match changes.len() > LOGGED_ALONE {
                true => debug!("{}", line()),
                false => info!("{}", line()),
            }
        }
    }
}
