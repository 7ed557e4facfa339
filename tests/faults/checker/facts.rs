//! A history by host: what it was told, and what may have changed its registration.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::Law;
use crate::history::{Grant, History, Host, Id, Moment, Outcome, Request, Sequence};

/// An answer that shows the ID of a host at some moment from `sent` to `done`.
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
}

impl Claim<'_> {
    /// Whether the client was told that it is the holder.
    pub fn is_own(&self) -> bool {
        self.grant.holder == self.client
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
        };
        for (place, operation) in history.operations.iter().enumerate() {
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
            };
            match (&operation.request, &operation.outcome) {
                (Request::Register(host), Outcome::Granted(grant)) => {
                    let claim = Claim {
                        place,
                        host,
                        grant,
                        client: operation.client,
                        sent: operation.sent,
                        done: operation.done,
                    };
                    // What another client is told is a read, which a replica that is cut
                    // off may answer from an earlier state.
                    if claim.is_own() {
                        it.claims.push(claim);
                        it.registrations.push(effect);
                        facts.ids.entry(&grant.id).or_default().push(claim);
                    }
                }
                (Request::Register(_), _) if is_uncertain => it.registrations.push(effect),
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
        let earlier = facts.claims.iter().rev().find(|earlier| {
            earlier.is_own() && earlier.grant.id == claim.grant.id && earlier.done <= claim.sent
        });
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
            // Whoever only reads renews nothing.
            Sequence::Limited if !claim.is_own() => claim.sent,
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
