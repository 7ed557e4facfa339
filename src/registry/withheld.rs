//! Releases that not all replicas know yet: see [`Network::withhold`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Denial,
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
}

impl Withheld {
    pub fn new(coverage: Arc<Coverage>) -> Self {
        Self {
            coverage,
            commits: BTreeMap::new(),
            waiting: Vec::new(),
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
        self.waiting.into_iter().map(|(command, _)| command)
    }
}
