//! Every answer shows a state of the zone, and the states of a replica are those of the
//! commits in their order.
//!
//! A replica never shows an earlier state than one that it has shown before, whoever has
//! asked, over restarts and elections too. Nor does it show one that was replaced before
//! its [`Staleness`]. Of all states that explain an answer, the earliest one is taken
//! that is not earlier than those; if there is none, no order explains the answers.
//!
//! Whether a lease was running when an address was shown is asked only if the holder has
//! left, since every host counts as live for one lease when there is a new writer.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Finding, Rule,
    facts::{Facts, HostFacts},
    staleness::Staleness,
    states::{Serials, States},
    versions::{Step, Versions},
};
use crate::history::{Host, Moment, Operation, Outcome, Request, Sequence, seconds};

pub fn check(facts: &Facts<'_>, versions: &Versions<'_>, findings: &mut Vec<Finding>) {
    let staleness = Staleness::new(facts.history, facts.law);
    let counts = Counts::of(facts);
    let mut replicas: Vec<Replica> = Vec::new();
    for (place, operation) in facts.history.operations.iter().enumerate() {
        let replica = operation.replica;
        if replicas.len() <= replica {
            replicas.resize_with(replica + 1, Replica::default);
        }
        let oldest = staleness.oldest(replica, operation.sent);
        let read = Read {
            facts,
            place,
            operation,
            oldest,
        };
        let finding = match (&operation.request, &operation.outcome) {
            (Request::AddressOfHost(host), Outcome::NoAddress) => read.no_address(host),
            (_, Outcome::Summary { peers, live }) => read.summary(*peers, *live, &counts),
            _ => None,
        };
        let finding = finding.or_else(|| read.explain(versions, &mut replicas[replica]));
        findings.extend(finding);
    }
}

/// What a replica has shown.
#[derive(Default)]
struct Replica {
    /// The latest state that it must have had to answer what was answered so far.
    state: Shown,
    /// The states of answers that were not there yet.
    pending: BinaryHeap<Reverse<(Moment, u64, usize)>>,
}

/// A state that was shown, and the operation that showed it.
#[derive(Clone, Copy, Default)]
struct Shown {
    serial: u64,
    place: Option<usize>,
}

impl Replica {
    /// The state before a query that was sent at this time.
    fn state_before(&mut self, sent: Moment) -> Shown {
        while let Some(Reverse((done, serial, place))) = self.pending.peek().copied()
            && done < sent
        {
            self.pending.pop();
            if serial > self.state.serial {
                self.state = Shown {
                    serial,
                    place: Some(place),
                };
            }
        }
        self.state
    }
}

/// When hosts were registered, in order.
struct Counts {
    /// When each asked for the first time.
    asked: Vec<Moment>,
    /// When each was answered that stays registered for good.
    kept: Vec<Moment>,
}

impl Counts {
    fn of(facts: &Facts<'_>) -> Self {
        let sorted = |moments: Vec<Moment>| {
            let mut moments = moments;
            moments.sort_unstable();
            moments
        };
        let asked = facts.hosts.values().filter_map(|it| {
            let asked = it.registrations.iter().map(|effect| effect.from);
            asked.min()
        });
        let kept = facts.hosts.iter().filter_map(|(host, it)| {
            let is_kept = host.sequence == Sequence::Open && it.releases.is_empty();
            let answered = it.claims.iter().map(|claim| claim.done);
            answered.min().filter(|_| is_kept)
        });
        Self {
            asked: sorted(asked.collect()),
            kept: sorted(kept.collect()),
        }
    }
}

/// A query, and the moment whose state its answer must at least show.
struct Read<'f, 'h> {
    facts: &'f Facts<'h>,
    place: usize,
    operation: &'h Operation,
    oldest: Moment,
}

impl Read<'_, '_> {
    /// Finds the state that was shown.
    fn explain(&self, versions: &Versions<'_>, replica: &mut Replica) -> Option<Finding> {
        let Operation {
            request,
            sent,
            done,
            ..
        } = self.operation;
        let states = States {
            facts: self.facts,
            versions,
            operation: self.operation,
            // What registers is answered only by who knows of every release.
            since: if request.is_read() {
                self.oldest
            } else {
                *sent
            },
        };
        let states = states.all()?;
        let shown = replica.state_before(*sent);
        let stored = versions.before(self.oldest);
        let least = shown.serial.max(stored.index);
        let starts = states.iter().filter(|states| states.end > least);
        if let Some(serial) = starts.map(|states| states.start.max(least)).min() {
            replica.pending.push(Reverse((*done, serial, self.place)));
            return None;
        }
        Some(self.contradiction(&states, shown, stored))
    }

    fn contradiction(&self, states: &[Serials], shown: Shown, stored: Step) -> Finding {
        let last = states.iter().map(|states| states.end - 1).max();
        let is_shown = shown.serial >= stored.index;
        let (rule, text, other) = match last {
            None => (
                Rule::Reads,
                "no order of the writes explains the answer".to_owned(),
                None,
            ),
            Some(last) if is_shown => (
                self.rule_of_order(shown),
                format!(
                    "replica {} shows a state up to {last}, and has shown {} before",
                    self.operation.replica, shown.serial
                ),
                shown.place,
            ),
            Some(last) => (
                Rule::Reads,
                format!(
                    "replica {} shows a state up to {last}, and {} was stored {} s before",
                    self.operation.replica,
                    stored.index,
                    seconds(self.operation.sent.saturating_sub(stored.done))
                ),
                stored.place,
            ),
        };
        self.finding(rule, text, other)
    }

    /// The rule for a state that is earlier than one that was shown before.
    fn rule_of_order(&self, shown: Shown) -> Rule {
        let is_serial = |place: usize| {
            let operation = &self.facts.history.operations[place];
            operation.request == Request::Serial
        };
        match is_serial(self.place) && shown.place.is_some_and(is_serial) {
            true => Rule::Serials,
            false => Rule::Reads,
        }
    }

    /// A host whose lease surely ran.
    fn no_address(&self, host: &Host) -> Option<Finding> {
        let lease = self.facts.law.lease;
        let to = self.operation.done;
        let HostFacts {
            claims,
            leaves,
            releases,
            ..
        } = self.facts.of(host)?;
        let start = self.oldest.saturating_sub(lease);
        if leaves
            .iter()
            .chain(releases)
            .any(|it| it.touches(start, to))
        {
            return None;
        }
        let mut runs_until = self.oldest;
        let mut last = None;
        for claim in claims {
            if claim.done <= runs_until && runs_until < claim.sent + lease {
                runs_until = claim.sent + lease;
                last = Some(claim.place);
            }
        }
        if runs_until <= to {
            return None;
        }
        let text = format!("{host} has no address, and its lease was running");
        Some(self.finding(Rule::Reads, text, last))
    }

    fn summary(&self, peers: usize, live: usize, counts: &Counts) -> Option<Finding> {
        let most = counts
            .asked
            .partition_point(|it| *it <= self.operation.done);
        let least = counts.kept.partition_point(|it| *it < self.oldest);
        if live <= peers && (least..=most).contains(&peers) {
            return None;
        }
        let text =
            format!("{peers} peers, {live} of them live, when {least} to {most} were registered");
        Some(self.finding(Rule::Reads, text, None))
    }

    fn finding(&self, rule: Rule, text: String, other: Option<usize>) -> Finding {
        Finding {
            rule,
            text,
            places: other.into_iter().chain([self.place]).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
