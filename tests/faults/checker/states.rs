//! Which states of the zone explain an answer. A state is named by its serial, and has
//! every registration with an epoch up to that, unless a later one has replaced it.
//!
//! A registration that nobody was told of, since its query had no answer, may have any
//! serial that fits the time of the query.

use std::{net::Ipv4Addr, ops::Range};

use super::{
    facts::{Effect, Facts},
    versions::{Version, Versions},
};
use crate::history::{Grant, Host, Id, Moment, Operation, Outcome, Request, Sequence};

/// Serials from the first one to the one before the second.
pub type Serials = Range<u64>;

pub struct States<'f, 'h> {
    pub facts: &'f Facts<'h>,
    pub versions: &'f Versions<'h>,
    pub operation: &'f Operation,
    /// What ended before this moment is not shown any more.
    pub since: Moment,
}

impl<'h> States<'_, 'h> {
    /// The states that explain the answer; `None` if all of them do.
    pub fn all(&self) -> Option<Vec<Serials>> {
        let last = self.versions.first_after(self.operation.done);
        let mut states = self.at_any_time()?;
        for serials in &mut states {
            serials.end = serials.end.min(last);
        }
        states.retain(|serials| !serials.is_empty());
        Some(states)
    }

    fn at_any_time(&self) -> Option<Vec<Serials>> {
        match (&self.operation.request, &self.operation.outcome) {
            (_, Outcome::Granted(grant)) => self.registration(grant),
            (_, Outcome::Serial(serial)) => {
                let serial = u64::from(*serial);
                Some(only(serial..serial + 1))
            }
            (Request::AddressOfHost(host), outcome) => {
                let versions: Vec<_> = self.versions.of_host(host).collect();
                let effects = self.facts.of(host).map(|it| &it.registrations);
                let unseen = self.unseen(effects.into_iter().flatten(), &versions);
                self.name(outcome, &versions, unseen)
            }
            (Request::AddressOfId(id) | Request::StateOfId(id), outcome) => {
                let versions: Vec<_> = self.versions.of_id(id).collect();
                let unseen = self.unseen(self.of_sequence(id), &versions);
                self.name(outcome, &versions, unseen)
            }
            _ => None,
        }
    }

    /// The states that have the registration.
    fn registration(&self, grant: &Grant) -> Option<Vec<Serials>> {
        let version = self.versions.with_epoch(grant.epoch)?;
        if version.grant != grant {
            // That is a matter of epochs.
            return None;
        }
        Some(only(grant.epoch..self.end(version)))
    }

    /// The states in which a name has this answer. `versions` are the registrations at
    /// the name, and `unseen` those that may have been.
    fn name(
        &self,
        outcome: &Outcome,
        versions: &[&Version<'h>],
        unseen: Vec<(Ipv4Addr, Serials)>,
    ) -> Option<Vec<Serials>> {
        match outcome {
            Outcome::Address(address) => {
                let seen = versions
                    .iter()
                    .filter(|version| version.grant.holder == *address)
                    .map(|version| version.grant.epoch..self.end_of_lease(version));
                let unseen = unseen.into_iter().filter(|(holder, _)| holder == address);
                Some(seen.chain(unseen.map(|(_, serials)| serials)).collect())
            }
            Outcome::NoName => Some(self.absent(versions)),
            Outcome::NoAddress => {
                let first = versions.iter().map(|version| version.grant.epoch);
                let first = first
                    .chain(unseen.into_iter().map(|(_, it)| it.start))
                    .min();
                Some(only(first?..u64::MAX))
            }
            _ => None,
        }
    }

    /// The first state in which the registration was surely replaced or released; 0 if
    /// that was too long ago.
    fn end(&self, version: &Version<'h>) -> u64 {
        let next = self.versions.next(version);
        let of_host = version.host.and_then(|host| self.facts.of(host));
        let mut releases = of_host.into_iter().flat_map(|it| &it.releases);
        let release = releases.find(|it| it.is_certain && version.shown < it.from);
        release.map_or(next, |release| next.min(self.end_by(release)))
    }

    /// The same for an address, which is no longer shown when the holder has left.
    fn end_of_lease(&self, version: &Version<'h>) -> u64 {
        let end = self.end(version);
        let Some(of_host) = version.host.and_then(|host| self.facts.of(host)) else {
            return end;
        };
        let holder = version.grant.holder;
        let returns = |leave: &Effect| {
            let done = self.operation.done;
            let mut registrations = of_host.registrations.iter();
            registrations.any(|it| it.client == holder && leave.from <= it.to && it.from <= done)
        };
        let left = of_host.leaves.iter().find(|leave| {
            leave.is_certain
                && leave.client == holder
                && version.shown < leave.from
                && !returns(leave)
        });
        left.map_or(end, |leave| end.min(self.end_by(leave)))
    }

    /// The first state after something that ends a registration.
    fn end_by(&self, effect: &Effect) -> u64 {
        match effect.to < self.since {
            true => 0,
            false => self.versions.first_after(effect.to),
        }
    }

    /// The states without any registration at the name.
    fn absent(&self, versions: &[&Version<'h>]) -> Vec<Serials> {
        let mut absent = Vec::new();
        let mut start = Some(0);
        for version in versions {
            absent.extend(start.map(|start| start..version.grant.epoch));
            let lost = match &version.renewed {
                Some(claim) => self.facts.earliest_loss(claim),
                // It may have been undone.
                None => version.written,
            };
            let is_lost = lost <= self.operation.done;
            let index = self.versions.before(lost).index;
            start = is_lost.then_some(index.max(version.grant.epoch) + 1);
        }
        absent.extend(start.map(|start| start..u64::MAX));
        absent
    }

    /// The registrations that may have been made without an answer, with their clients.
    fn unseen<'e>(
        &self,
        effects: impl Iterator<Item = &'e Effect>,
        versions: &[&Version<'h>],
    ) -> Vec<(Ipv4Addr, Serials)> {
        let done = self.operation.done;
        let effects = effects.filter(|it| !it.is_certain && it.from <= done);
        effects
            .map(|effect| {
                let start = self.versions.before(effect.from).index + 1;
                let next = versions.iter().find(|it| it.written > effect.to);
                let end = next.map_or(u64::MAX, |next| next.grant.epoch);
                (effect.client, start..end)
            })
            .collect()
    }

    /// The queries without an answer that may have registered a host with the ID.
    fn of_sequence(&self, id: &Id) -> impl Iterator<Item = &Effect> {
        let unseen = self.facts.unseen.iter();
        let unseen = unseen.filter(|(host, _)| may_have(host, id));
        unseen.map(|(_, effect)| effect)
    }
}

fn only(serials: Serials) -> Vec<Serials> {
    std::iter::once(serials).collect()
}

/// Whether the ID is of the host's sequence.
fn may_have(host: &Host, id: &Id) -> bool {
    let prefix = match host.sequence {
        Sequence::Open => "vp",
        Sequence::Limited => "nvp",
    };
    id.starts_with(prefix)
}
