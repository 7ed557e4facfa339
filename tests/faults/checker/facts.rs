//! A history by host: what it was told, and what may have changed its registration.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::Law;
use crate::history::{Grant, History, Host, Id, Moment, Outcome, Request, Sequence};

/// An answer to a client that it has the host with this ID: it was the holder at some
/// moment from `sent` to `done`, and has renewed the lease then.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'h> {
    /// Of the operation in the history.
    pub place: usize,
    pub host: &'h Host,
    pub grant: &'h Grant,
    pub client: Ipv4Addr,
    pub sent: Moment,
    pub done: Moment,
}

/// A query that changed something at some moment from `from` to `to`, or did not if it
/// is not certain.
#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub place: usize,
    pub client: Ipv4Addr,
    pub from: Moment,
    pub to: Moment,
    pub is_certain: bool,
    /// The epoch that the client was told, if it registered.
    pub epoch: Option<u64>,
}

/// An answer that shows a registration, whoever has asked.
#[derive(Debug, Clone, Copy)]
pub struct Show<'h> {
    pub place: usize,
    /// Who was asked for; `None` if that was the name of an ID. A host's own name
    /// registers, so it is answered only by who knows that there is no later holder.
    pub host: Option<&'h Host>,
    pub grant: &'h Grant,
    pub client: Ipv4Addr,
    pub sent: Moment,
    pub done: Moment,
}

/// What concerns one host, in the order in which it was sent.
#[derive(Debug, Default)]
pub struct HostFacts<'h> {
    pub claims: Vec<Claim<'h>>,
    /// Queries that made their client the holder, or may have.
    pub registrations: Vec<Effect>,
    pub leaves: Vec<Effect>,
    pub releases: Vec<Effect>,
}

pub struct Facts<'h> {
    pub history: &'h History,
    pub law: &'h Law,
    pub hosts: BTreeMap<&'h Host, HostFacts<'h>>,
    /// Claims by ID, in the order in which they were sent.
    pub ids: BTreeMap<&'h Id, Vec<Claim<'h>>>,
    /// All that shows a registration, in the order in which it was sent.
    pub shows: Vec<Show<'h>>,
    /// Queries that may have made their client the holder of the host, without an answer.
    pub unseen: Vec<(&'h Host, Effect)>,
}

impl<'h> Show<'h> {
    /// The same as a claim, if the client was told that it is the holder.
    pub fn claim(&self) -> Option<Claim<'h>> {
        let host = self.host.filter(|_| self.grant.holder == self.client)?;
        Some(Claim {
            place: self.place,
            host,
            grant: self.grant,
            client: self.client,
            sent: self.sent,
            done: self.done,
        })
    }
}

impl Effect {
    /// Whether it may have happened between these moments.
    pub fn touches(&self, from: Moment, to: Moment) -> bool {
        self.from <= to && from <= self.to
    }
}

impl<'h> Facts<'h> {
    pub fn new(history: &'h History, law: &'h Law) -> Self {
        let mut facts = Self {
            history,
            law,
            hosts: BTreeMap::new(),
            ids: BTreeMap::new(),
            shows: Vec::new(),
            unseen: Vec::new(),
        };
        for (place, operation) in history.operations.iter().enumerate() {
            let shown = match &operation.outcome {
                Outcome::Granted(grant) => Some(Show {
                    place,
                    host: operation.request.host(),
                    grant,
                    client: operation.client,
                    sent: operation.sent,
                    done: operation.done,
                }),
                _ => None,
            };
            facts.shows.extend(shown);
            let Some(host) = operation.request.host() else {
                continue;
            };
            let it = facts.hosts.entry(host).or_default();
            let is_uncertain = operation.outcome.is_uncertain();
            let to = match is_uncertain {
                true => operation.sent + law.late,
                false => operation.done,
            };
            let effect = Effect {
                place,
                client: operation.client,
                from: operation.sent,
                to,
                is_certain: !is_uncertain,
                epoch: shown.map(|show| show.grant.epoch),
            };
            match (&operation.request, &operation.outcome) {
                (Request::Register(_), Outcome::Granted(grant)) => {
                    // What another client is told changes nothing.
                    if let Some(claim) = shown.and_then(|show| show.claim()) {
                        it.claims.push(claim);
                        it.registrations.push(effect);
                        facts.ids.entry(&grant.id).or_default().push(claim);
                    }
                }
                (Request::Register(_), _) if is_uncertain => {
                    it.registrations.push(effect);
                    facts.unseen.push((host, effect));
                }
                (Request::Leave(_), Outcome::Left(_)) => it.leaves.push(effect),
                (Request::Leave(_), _) if is_uncertain => it.leaves.push(effect),
                (Request::Release(_), Outcome::Released) => it.releases.push(effect),
                (Request::Release(_), _) if is_uncertain => it.releases.push(effect),
                _ => {}
            }
        }
        facts
    }

    pub fn of(&self, host: &Host) -> Option<&HostFacts<'h>> {
        self.hosts.get(host)
    }

    /// The earliest moment after the claim at which its host may have lost the ID:
    /// an administrator released it, or its lease and then the time to reclaim it were
    /// over. `Moment::MAX` if there is none.
    pub fn earliest_loss(&self, claim: &Claim<'_>) -> Moment {
        let Some(facts) = self.of(claim.host) else {
            return claim.sent;
        };
        let own = self.earliest_loss_alone(facts, claim);
        // What a holder was told earlier may give the host more time.
        let earlier = facts
            .claims
            .iter()
            .rev()
            .find(|earlier| earlier.grant.id == claim.grant.id && earlier.done <= claim.sent);
        match earlier {
            Some(earlier) if own < Moment::MAX => own.max(self.earliest_loss_alone(facts, earlier)),
            _ => own,
        }
    }

    fn earliest_loss_alone(&self, facts: &HostFacts<'_>, claim: &Claim<'_>) -> Moment {
        let Law { lease, reclaim, .. } = *self.law;
        let later = |effects: &[Effect]| {
            let effects = effects.iter().filter(|effect| effect.to >= claim.sent);
            effects.map(|effect| effect.from.max(claim.sent)).min()
        };
        let reclaimed = match claim.host.sequence {
            Sequence::Open => Moment::MAX,
            Sequence::Limited => {
                let by_silence = claim.sent + lease + reclaim;
                later(&facts.leaves).map_or(by_silence, |left| by_silence.min(left + reclaim))
            }
        };
        later(&facts.releases).map_or(reclaimed, |released| reclaimed.min(released))
    }

    /// Whether the host surely had the ID of the claim in all of this time.
    pub fn surely_has(&self, claim: &Claim<'_>, from: Moment, to: Moment) -> bool {
        claim.done <= from && to < self.earliest_loss(claim)
    }
}
