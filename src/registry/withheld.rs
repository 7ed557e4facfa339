//! Releases that not all replicas know yet: see [`Network::withhold`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Decision, Denial,
    coverage::Coverage,
    request::{Action, Command},
};
use crate::network::{Change, Hostname, Network, Time};

/// How long a request of a released host may wait until all replicas know of the release.
const PATIENCE: Duration = Duration::from_secs(4);

/// The releases, and the requests that wait for them.
pub(super) struct Withheld {
    coverage: Arc<Coverage>,
    /// By zone and host: a commit that has the release.
    commits: BTreeMap<(usize, Hostname), u64>,
    waiting: Vec<(Command, Time)>,
    answers: Vec<HeldAnswer>,
}

/// An answer to whoever has left or has released a host. It waits until all replicas know,
/// so that none of them renews the lease of a client that was told that it has left.
struct HeldAnswer {
    command: Command,
    decision: Decision,
    hosts: Vec<Hostname>,
    since: Time,
}

impl Withheld {
    pub fn new(coverage: Arc<Coverage>) -> Self {
        Self {
            coverage,
            commits: BTreeMap::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Whether anything waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.answers.is_empty()
    }

    /// Answers a command, as soon as all replicas know of the hosts that it has released,
    /// or that have left.
    pub fn answer(
        &mut self,
        command: Command,
        decision: Decision,
        hosts: Vec<Hostname>,
        now: Time,
    ) {
        self.answers.push(HeldAnswer {
            command,
            decision,
            hosts,
            since: now,
        });
    }

    /// Sends the answers for which nothing is withheld any more.
    pub fn send_answers(&mut self, networks: &[Arc<Network>], now: Time) {
        let answers = std::mem::take(&mut self.answers);
        for held in answers {
            let network = &networks[held.command.zone];
            if !held.hosts.iter().any(|host| network.is_withheld(host)) {
                (held.command.reply)(held.decision);
            } else if now < held.since + PATIENCE {
                self.answers.push(held);
            } else {
                (held.command.reply)(Err(Denial::BeingReleased));
            }
        }
    }

    /// Withholds what an update has released.
    pub fn withhold(network: &mut Network, changes: &[Change]) {
        for change in changes {
            if let Change::Delete(host, id) = change {
                network.withhold(host.clone(), *id);
            }
        }
    }

    /// Stops to withhold what all replicas know. `committed` is the last commit.
    pub fn tend(&mut self, networks: &mut [Network], committed: u64, now: Time) {
        if networks
            .iter()
            .all(|network| network.withheld().next().is_none())
        {
            return;
        }
        let confirmed = self.coverage.confirmed(now);
        for (zone, network) in networks.iter_mut().enumerate() {
            let hosts: Vec<Hostname> = network.withheld().cloned().collect();
            for host in hosts {
                let commit = self
                    .commits
                    .entry((zone, host.clone()))
                    .or_insert(committed);
                if confirmed.is_none_or(|confirmed| confirmed >= *commit) {
                    network.stop_withholding(&host);
                }
            }
        }
        self.commits
            .retain(|(zone, host), _| networks[*zone].is_withheld(host));
    }

    /// The requests that can be decided: of these and of those that have waited.
    pub fn ready(
        &mut self,
        commands: Vec<Command>,
        networks: &[Arc<Network>],
        now: Time,
    ) -> Vec<Command> {
        let waiting = std::mem::take(&mut self.waiting);
        let new = commands.into_iter().map(|command| (command, now));
        let mut ready = Vec::new();
        for (command, since) in waiting.into_iter().chain(new) {
            let is_withheld = match &command.action {
                Action::Register { host, .. } | Action::Leave { host, .. } => {
                    networks[command.zone].is_withheld(host)
                }
                Action::Update(_) => false,
            };
            if !is_withheld {
                ready.push(command);
            } else if now < since + PATIENCE {
                self.waiting.push((command, since));
            } else {
                (command.reply)(Err(Denial::BeingReleased));
            }
        }
        ready
    }

    /// The requests that wait, which another replica decides.
    pub fn into_waiting(self) -> impl Iterator<Item = Command> {
        for held in self.answers {
            (held.command.reply)(Err(Denial::BeingReleased));
        }
        self.waiting.into_iter().map(|(command, _)| command)
    }
}
