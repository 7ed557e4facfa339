//! The writer: decides requests, ends leases, commits, publishes and answers.

use std::{sync::Arc, time::Duration};

use tracing::info;

use super::{
    Action, Decision, Denial, Grant, PublishedZone,
    changes::log,
    commit::Committer,
    coverage::{Coverage, DRIFT, Vouching},
    request::Command,
    shared::EndedLeases,
    withheld::Withheld,
};
use crate::{
    clock::{Clock, Moment},
    network::{Change, Hostname, Network, Time},
    store::Store,
    text::counted,
    zone::ZoneView,
};

/// The number of leases of a zone that are checked before the writer serves requests
/// again, which takes a few milliseconds. After a start all of them may expire at once.
const MAX_EXPIRY_CHECKS: usize = 4_096;

/// The minimum and maximum time between two checks for expired leases.
const MIN_WAIT: Duration = Duration::from_millis(20);
const MAX_WAIT: Duration = Duration::from_millis(250);

/// How soon expired leases that could not be stored for the replicas are stored again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    zones: Vec<Arc<PublishedZone>>,
    committer: Committer,
    /// What is known of other replicas; `None` without them.
    replicas: Option<Replicas>,
    /// No earlier than this, leases that have expired are stored again after a failure.
    next_expiry: Time,
    /// Requests that the next writer decides, since this one is deposed.
    left: Vec<Command>,
    clock: Clock,
}

/// What the writer knows of other replicas.
struct Replicas {
    /// The heartbeats that they answer.
    coverage: Arc<Coverage>,
    /// The releases that not all of them know.
    withheld: Withheld,
    vouching: Arc<Vouching>,
}

impl Writer {
    pub fn new(zones: Vec<Arc<PublishedZone>>, store: Box<dyn Store>, clock: Clock) -> Self {
        Self {
            committer: Committer::new(zones.clone(), store, None),
            replicas: None,
            next_expiry: Time::default(),
            left: Vec::new(),
            zones,
            clock,
        }
    }

    /// Whether the last commit was stored.
    pub fn is_storing(&self) -> bool {
        !self.committer.is_failing()
    }

    /// The writer among replicas.
    pub fn elected(
        zones: Vec<Arc<PublishedZone>>,
        store: Box<dyn Store>,
        ended: EndedLeases,
        coverage: Arc<Coverage>,
        vouching: Arc<Vouching>,
        clock: Clock,
    ) -> Self {
        let now = clock.now();
        let mut writer = Self {
            committer: Committer::new(zones.clone(), store, Some(ended)),
            replicas: Some(Replicas {
                withheld: Withheld::new(coverage.clone()),
                coverage,
                vouching,
            }),
            next_expiry: Time::default(),
            left: Vec::new(),
            zones,
            clock,
        };
        let mut networks = writer.networks();
        for network in &mut networks {
            network.lead(now);
        }
        // Otherwise the next commit has a higher revision, and every lease runs for one
        // lease anyway, since the coverage begins with the election.
        if writer.committer.commit(&networks, &[]) {
            writer.committer.publish(networks);
        }
        writer
    }

    /// The last commit that is published, the ended leases as they are stored, and the
    /// requests that nobody has decided.
    pub fn retire(&mut self) -> (u64, EndedLeases, Vec<Command>) {
        let mut left = std::mem::take(&mut self.left);
        if let Some(replicas) = self.replicas.take() {
            left.extend(replicas.withheld.into_waiting());
        }
        let ended = self.committer.ended.take().unwrap_or_default();
        (self.committer.committed, ended, left)
    }

    /// Reserves serials for all zones.
    pub fn reserve_serials(&mut self) {
        let networks = self.networks();
        self.committer.commit(&networks, &[]);
        self.committer.publish(networks);
    }

    /// Serves requests.
    pub fn serve_or_expire(&mut self, mut commands: Vec<Command>) {
        if let Some(replicas) = &mut self.replicas {
            let zones = self.zones.iter();
            let networks: Vec<_> = zones.map(|published| published.network()).collect();
            let now = self.clock.now();
            replicas.withheld.send_answers(&networks, now);
            commands = replicas.withheld.ready(commands, &networks, now);
        }
        // A busy zone may never let the wait time out.
        let is_due = |deadline| deadline <= self.clock.now();
        if commands.is_empty() || self.deadline().is_some_and(is_due) || self.is_waiting() {
            self.expire();
        }
        if !commands.is_empty() {
            self.serve(commands);
        }
    }

    /// The time until a lease may have expired.
    pub fn wait(&self) -> Duration {
        let wait = self.deadline().map_or(MAX_WAIT, |deadline| {
            let due = deadline.max(self.next_expiry);
            Duration::from_millis(due.0.saturating_sub(self.clock.now().0))
        });
        if self.is_waiting() {
            return MIN_WAIT;
        }
        wait.clamp(MIN_WAIT, MAX_WAIT)
    }

    /// Whether anything waits for other replicas.
    fn is_waiting(&self) -> bool {
        let replicas = self.replicas.as_ref();
        replicas.is_some_and(|replicas| replicas.withheld.is_waiting())
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

    /// The current moment, and the time until which all heartbeats are known, if that is
    /// not the present.
    fn moment(&self) -> (Moment, Option<Time>) {
        let mut moment = self.clock.moment();
        let replicas = self.replicas.as_ref();
        let heard = replicas.map(|it| it.coverage.heard(moment.now));
        if let Some(heard) = heard {
            moment.heard_since = moment.heard_since.max(heard.since);
        }
        (moment, heard.map(|heard| heard.until))
    }

    /// Ends expired leases in every zone.
    fn expire(&mut self) {
        let (moment, heard_until) = self.moment();
        if moment.now < self.next_expiry {
            return;
        }
        self.committer.probe_if_due(moment.now);
        let mut networks = self.networks();
        self.committer.skip_failed(&mut networks);
        let mut ended = Vec::new();
        for network in &mut networks {
            let live = network.live_len();
            network.resume(moment.heard_since);
            set_heard_until(network, heard_until);
            network.expire(moment.now, MAX_EXPIRY_CHECKS);
            ended.push(live - network.live_len());
        }
        if let Some(replicas) = &mut self.replicas {
            let committed = self.committer.committed;
            replicas.withheld.tend(&mut networks, committed, moment.now);
        }
        // Serials are reserved before they are published: after a crash the serial
        // continues from the reserved ones.
        if self.committer.needs_serials(&networks)
            && !self.committer.commit(&networks, &[])
            && self.replicas.is_some()
        {
            self.next_expiry = moment.now + RETRY;
            return;
        }
        self.committer.publish(networks);
        for (ended, published) in ended.into_iter().zip(&self.zones) {
            if ended > 0 {
                let ended = counted(ended, "lease");
                info!("zone {}: {ended} expired", published.zone);
            }
        }
    }

    /// Decides all commands, commits them together, and answers.
    fn serve(&mut self, commands: Vec<Command>) {
        let (moment, heard_until) = self.moment();
        let mut networks = self.networks();
        for network in &mut networks {
            set_heard_until(network, heard_until);
        }
        self.committer.skip_failed(&mut networks);
        let mut views = self.views();
        let mut changes = Vec::new();
        let mut decisions = Vec::with_capacity(commands.len());
        let mut released = Vec::with_capacity(commands.len());
        for command in &commands {
            let place = command.zone;
            let mut new_changes = Vec::new();
            let (network, view) = (&mut networks[place], &mut views[place]);
            decisions.push(self.decide(command, moment, network, view, &mut new_changes));
            released.push(self.hosts_to_confirm(command, network, &new_changes));
            changes.extend(new_changes.into_iter().map(|change| (place, change)));
        }
        // A writer that may have been replaced must not answer for a lease: a commit shows
        // whether it was.
        let may_be_replaced = |it: &Replicas| !it.vouching.is_valid(moment.now);
        let must_write = self.replicas.as_ref().is_some_and(may_be_replaced)
            || !changes.is_empty()
            || commands.iter().any(|it| self.committer.is_uncertain(it))
            || self.committer.must_store(&networks);
        let may_write = must_write || self.committer.needs_serials(&networks);
        if !may_write || self.committer.commit(&networks, &changes) || !must_write {
            log(&self.zones, &changes);
        } else if self.committer.is_deposed {
            let (others, once): (Vec<_>, Vec<_>) = commands
                .into_iter()
                .partition(|command| command.action.may_be_repeated());
            self.left.extend(others);
            for command in once {
                (command.reply)(Err(Denial::NotWritten));
            }
            return;
        } else {
            (networks, decisions) = self.decide_without_writing(&commands, moment);
            released.fill(Vec::new());
        }
        self.committer.publish(networks);
        let decided = commands.into_iter().zip(decisions).zip(released);
        for ((command, decision), hosts) in decided {
            match &mut self.replicas {
                Some(replicas) if !hosts.is_empty() => {
                    replicas
                        .withheld
                        .answer(command, decision, hosts, moment.now);
                }
                _ => (command.reply)(decision),
            }
        }
    }

    /// The hosts of which all replicas must know before the command is answered.
    fn hosts_to_confirm(
        &self,
        command: &Command,
        network: &Network,
        changes: &[Change],
    ) -> Vec<Hostname> {
        let hosts: Vec<Hostname> = match &command.action {
            _ if self.replicas.is_none() => Vec::new(),
            Action::Register { .. } => Vec::new(),
            Action::Leave { host, .. } => vec![host.clone()],
            Action::Update(_) => changes.iter().map(|change| change.host().clone()).collect(),
        };
        let is_withheld = |host: &Hostname| network.is_withheld(host);
        hosts.into_iter().filter(is_withheld).collect()
    }

    /// Decides one command. `view` is that of the previous answer, and is replaced only
    /// if the root nodes differ: a clone of the network for each answer would make each
    /// command copy everything that it changes.
    fn decide(
        &self,
        command: &Command,
        moment: Moment,
        network: &mut Network,
        view: &mut Arc<ZoneView>,
        changes: &mut Vec<Change>,
    ) -> Decision {
        let now = moment.now;
        network.resume(moment.heard_since);
        let mut is_new = false;
        let peer = match &command.action {
            Action::Register { host, .. } if network.is_withheld(host) => {
                return Err(Denial::BeingReleased);
            }
            Action::Register { host, role, client } => {
                is_new = network.host(host).is_none();
                network
                    .register(now, host, *role, *client, changes)
                    .map_err(Denial::Refused)?
            }
            Action::Leave { host, client } => {
                let revision = network.revision();
                let peer = network.leave(now, host, *client);
                let peer = peer.map_err(Denial::CannotLeave)?;
                if self.replicas.is_some() && network.revision() != revision {
                    network.withhold(host.clone(), peer.id);
                }
                peer
            }
            Action::Update(update) => {
                let before = network.clone();
                let zone = &self.zones[command.zone].zone;
                // An update is atomic (RFC 2136, section 3.7).
                zone.apply(update, network, changes).map_err(|refusal| {
                    *network = before;
                    changes.clear();
                    Denial::CannotUpdate(refusal)
                })?;
                if self.replicas.is_some() {
                    Withheld::withhold(network, changes);
                }
                return Ok(Grant::Updated);
            }
        };
        if !network.has_same_roots(&view.network, &peer) {
            *view = Arc::new(view.next(Arc::new(network.clone())));
        }
        Ok(Grant::Peer {
            peer,
            view: view.clone(),
            is_new,
        })
    }

    /// Decides all commands after a failed write: grants those that change nothing, and
    /// denies the rest.
    fn decide_without_writing(
        &self,
        commands: &[Command],
        moment: Moment,
    ) -> (Vec<Network>, Vec<Decision>) {
        let mut networks = self.networks();
        let mut views = self.views();
        let mut decisions = Vec::with_capacity(commands.len());
        for command in commands {
            let network = &mut networks[command.zone];
            let before = network.clone();
            let mut changes = Vec::new();
            let view = &mut views[command.zone];
            let decision = self.decide(command, moment, network, view, &mut changes);
            let must_store = self.committer.is_shared() && network.revision() != before.revision();
            decisions.push(
                if changes.is_empty() && !must_store && !self.committer.is_uncertain(command) {
                    decision
                } else {
                    *network = before;
                    Err(Denial::NotWritten)
                },
            );
        }
        (networks, decisions)
    }
}

/// Records until when all heartbeats are known. The clock of a replica that has renewed a
/// lease may be slower than this one's, so the lease may run a little longer there.
fn set_heard_until(network: &mut Network, heard_until: Option<Time>) {
    if let Some(until) = heard_until {
        let difference = network.rules().lease / DRIFT;
        network.set_heard_until(until.minus(difference));
    }
}
