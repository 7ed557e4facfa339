//! The order of the writes: every registration that an answer has shown, by its epoch.
//!
//! The epoch of a registration is the serial of the zone with which it was made, so all
//! epochs and serials that were answered are of one order, that of the writes. A
//! registration is stored after one of the queries that may have caused it was sent,
//! after all those with lower epochs, and before it is shown for the first time.

use std::collections::BTreeMap;

use super::{
    Finding, Rule,
    facts::{Claim, Facts, HostFacts, Show},
};
use crate::history::{Grant, Host, Id, Moment, Outcome};

/// A registration that was stored.
#[derive(Debug)]
pub struct Version<'h> {
    /// `None` if only the name of its ID was asked for.
    pub host: Option<&'h Host>,
    pub grant: &'h Grant,
    /// The earliest moment at which it may have been stored.
    pub written: Moment,
    /// When it was shown for the first time, and by which operation.
    pub shown: Moment,
    pub place: usize,
    /// The last time that its holder was told so.
    pub renewed: Option<Claim<'h>>,
}

/// An answer that was the first to show this epoch or serial, or a later one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    pub done: Moment,
    pub index: u64,
    pub place: Option<usize>,
}

pub struct Versions<'h> {
    by_epoch: BTreeMap<u64, Version<'h>>,
    by_host: BTreeMap<&'h Host, Vec<u64>>,
    by_id: BTreeMap<&'h Id, Vec<u64>>,
    /// When each one may have been written, by epoch and by time.
    written: Vec<(Moment, u64)>,
    /// By time, with indices that rise.
    steps: Vec<Step>,
}

impl<'h> Versions<'h> {
    /// The order of a history. Reports registrations for which nobody has asked, or only
    /// when a later one had been shown.
    pub fn new(facts: &Facts<'h>, findings: &mut Vec<Finding>) -> Self {
        let mut versions = Self {
            by_epoch: BTreeMap::new(),
            by_host: BTreeMap::new(),
            by_id: BTreeMap::new(),
            written: Vec::new(),
            steps: steps(facts),
        };
        for show in &facts.shows {
            versions.add(show);
        }
        for (epoch, version) in &versions.by_epoch {
            let of_id = versions.by_id.entry(&version.grant.id).or_default();
            of_id.push(*epoch);
            if let Some(host) = version.host {
                versions.by_host.entry(host).or_default().push(*epoch);
            }
        }
        versions.note_writes(facts, findings);
        versions
    }

    fn add(&mut self, show: &Show<'h>) {
        let version = Version {
            host: show.host,
            grant: show.grant,
            written: Moment::ZERO,
            shown: show.done,
            place: show.place,
            renewed: None,
        };
        let version = self.by_epoch.entry(show.grant.epoch).or_insert(version);
        // Another one with the same epoch is a matter of epochs.
        if version.grant == show.grant {
            version.host = version.host.or(show.host);
            if let Some(claim) = show.claim() {
                version.renewed = Some(claim);
            }
            if show.done < version.shown {
                (version.shown, version.place) = (show.done, show.place);
            }
        }
    }

    /// Finds out when each one may have been written.
    fn note_writes(&mut self, facts: &Facts<'h>, findings: &mut Vec<Finding>) {
        let mut latest = Moment::ZERO;
        let epochs: Vec<u64> = self.by_epoch.keys().copied().collect();
        for epoch in epochs {
            let Some(version) = self.by_epoch.get(&epoch) else {
                continue;
            };
            let host = version.host;
            let name = host.map_or_else(|| version.grant.id.clone(), Host::to_string);
            let mut finding = None;
            match earliest_cause(facts, version) {
                None => {
                    let holder = version.grant.holder;
                    finding = Some((
                        Rule::Reads,
                        format!(
                            "{holder} has {name} with the epoch {epoch}, and never asked for it"
                        ),
                        vec![version.place],
                    ));
                }
                Some((asked, place)) => {
                    let before = self.before(asked);
                    if before.index >= epoch {
                        let index = before.index;
                        finding = Some((
                            Rule::Epochs,
                            format!(
                                "{name} has the epoch {epoch}, and asked when {index} was known"
                            ),
                            before.place.into_iter().chain([place]).collect(),
                        ));
                    }
                    latest = latest.max(asked);
                }
            }
            findings.extend(finding.map(|(rule, text, places)| Finding { rule, text, places }));
            if let Some(version) = self.by_epoch.get_mut(&epoch) {
                version.written = latest;
                self.written.push((latest, epoch));
            }
        }
    }

    pub fn with_epoch(&self, epoch: u64) -> Option<&Version<'h>> {
        self.by_epoch.get(&epoch)
    }

    /// The registrations of a host, in their order.
    pub fn of_host(&self, host: &Host) -> impl DoubleEndedIterator<Item = &Version<'h>> {
        let epochs = self.by_host.get(host).into_iter().flatten();
        epochs.filter_map(|epoch| self.by_epoch.get(epoch))
    }

    /// The registrations with an ID, in their order.
    pub fn of_id(&self, id: &Id) -> impl DoubleEndedIterator<Item = &Version<'h>> {
        let epochs = self.by_id.get(id).into_iter().flatten();
        epochs.filter_map(|epoch| self.by_epoch.get(epoch))
    }

    /// The epoch with which the host has another registration, or the ID another host.
    pub fn next(&self, version: &Version<'h>) -> u64 {
        let after = |epochs: Option<&Vec<u64>>| {
            let mut epochs = epochs.into_iter().flatten().copied();
            epochs.find(|epoch| *epoch > version.grant.epoch)
        };
        let of_host = version.host.and_then(|host| after(self.by_host.get(host)));
        let of_id = after(self.by_id.get(&version.grant.id));
        of_host.into_iter().chain(of_id).min().unwrap_or(u64::MAX)
    }

    /// The first epoch that was surely written after a moment.
    pub fn first_after(&self, moment: Moment) -> u64 {
        let count = self
            .written
            .partition_point(|(written, _)| *written <= moment);
        self.written
            .get(count)
            .map_or(u64::MAX, |(_, epoch)| *epoch)
    }

    /// When a later state than this one was answered for the first time.
    pub fn replaced(&self, serial: u64) -> Option<Moment> {
        let count = self.steps.partition_point(|step| step.index <= serial);
        self.steps.get(count).map(|step| step.done)
    }

    /// The highest epoch or serial that had been answered before a moment.
    pub fn before(&self, moment: Moment) -> Step {
        let count = self.steps.partition_point(|step| step.done < moment);
        let last = count.checked_sub(1).map(|last| self.steps[last]);
        last.unwrap_or_default()
    }
}

/// When the first query was sent that may have caused the registration, and its place.
fn earliest_cause(facts: &Facts<'_>, version: &Version<'_>) -> Option<(Moment, usize)> {
    let Grant { epoch, holder, .. } = *version.grant;
    let hosts: Vec<&HostFacts<'_>> = match version.host {
        Some(host) => facts.of(host).into_iter().collect(),
        None => facts.hosts.values().collect(),
    };
    let effects = hosts.into_iter().flat_map(|it| &it.registrations);
    let causes = effects.filter(|effect| {
        effect.client == holder
            && effect.epoch.is_none_or(|it| it == epoch)
            && effect.from <= version.shown
    });
    causes.map(|effect| (effect.from, effect.place)).min()
}

/// Every answer that shows a higher epoch or serial than those before.
fn steps(facts: &Facts<'_>) -> Vec<Step> {
    let operations = facts.history.operations.iter().enumerate();
    let mut all: Vec<Step> = operations
        .filter_map(|(place, operation)| {
            let index = match &operation.outcome {
                Outcome::Granted(grant) => grant.epoch,
                Outcome::Serial(serial) => u64::from(*serial),
                _ => return None,
            };
            Some(Step {
                done: operation.done,
                index,
                place: Some(place),
            })
        })
        .collect();
    all.sort_by_key(|step| (step.done, step.index));
    let mut highest = 0;
    all.retain(|step| {
        let is_higher = step.index > highest;
        highest = highest.max(step.index);
        is_higher
    });
    all
}
