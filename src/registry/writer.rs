//! The writer's thread.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tracing::{debug, info};

use super::{Action, Decision, Denial, Granted, Published, commit::Committer, request::Command};
use crate::{
    clock::{Clock, Moment},
    network::{Change, Network, Time},
    store::Store,
    zone::ZoneView,
};

/// How many requests share one flush at the most.
const BATCH: usize = 4_096;

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
    committer: Committer,
    clock: Clock,
}

impl Writer {
    pub fn new(zones: Vec<Arc<Published>>, store: Box<dyn Store>, clock: Clock) -> Self {
        Self {
            committer: Committer::new(zones.clone(), store),
            zones,
            clock,
        }
    }

    /// Reserves serials for all zones.
    pub fn reserve_serials(&mut self) {
        let networks = self.networks();
        self.committer.commit(&networks, &[]);
        self.committer.publish(networks);
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

    fn views(&self) -> Vec<Arc<ZoneView>> {
        let zones = self.zones.iter();
        zones.map(|published| published.view()).collect()
    }

    fn networks(&self) -> Vec<Network> {
        let zones = self.zones.iter();
        zones.map(|zone| Network::clone(&zone.network())).collect()
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
        if self.committer.wants_serials(&networks) {
            self.committer.commit(&networks, &[]);
        }
        self.committer.publish(networks);
    }

    /// Decides all commands, commits them together, and answers.
    fn serve(&mut self, commands: Vec<Command>) {
        let moment = self.clock.moment();
        let mut networks = self.networks();
        let mut shown = self.views();
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
        let must_write =
            !changes.is_empty() || commands.iter().any(|it| self.committer.is_unsettled(it));
        let may_write = must_write || self.committer.wants_serials(&networks);
        if !may_write || self.committer.commit(&networks, &changes) || !must_write {
            self.log(&changes);
        } else {
            (networks, decisions) = self.decide_without_disk(&commands, moment);
        }
        self.committer.publish(networks);
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
        shown: &mut Arc<ZoneView>,
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
        if !network.has_roots_of(&shown.network, &peer) {
            *shown = Arc::new(shown.next(Arc::new(network.clone())));
        }
        Ok(Granted::Peer {
            peer,
            view: shown.clone(),
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
        let mut shown = self.views();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in commands {
            let network = &mut networks[command.zone];
            let before = network.clone();
            let mut changes = Vec::new();
            let shown = &mut shown[command.zone];
            let decision = self.decide(command, moment, network, shown, &mut changes);
            decisions.push(
                if changes.is_empty() && !self.committer.is_unsettled(command) {
                    decision
                } else {
                    *network = before;
                    Err(Denial::NotWritten)
                },
            );
        }
        (networks, decisions)
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
