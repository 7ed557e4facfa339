//! An ID has one host, a host has one ID, and no registration that was answered is
//! lost.

use std::collections::BTreeSet;

use super::{
    Finding, Rule,
    facts::{Claim, Facts, HostFacts},
};
use crate::history::{Host, Moment, Outcome, Request};

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for claims in facts.ids.values() {
        check_id(facts, claims, findings);
    }
    for (host, of_host) in &facts.hosts {
        check_host(facts, of_host, findings);
        check_unknown(facts, host, of_host, findings);
    }
}

/// No other host has the ID while one surely has it.
fn check_id(facts: &Facts<'_>, claims: &[Claim<'_>], findings: &mut Vec<Finding>) {
    if claims.iter().all(|claim| claim.host == claims[0].host) {
        return;
    }
    let mut reported = BTreeSet::new();
    let losses = losses(facts, claims);
    for (claim, lost) in claims.iter().zip(&losses) {
        for (other, other_lost) in claims.iter().zip(&losses) {
            if other.host == claim.host || reported.contains(&pair(claim, other)) {
                continue;
            }
            // The other host had it at some moment of this time, or has had it since.
            let within = claim.done <= other.sent && other.done < *lost;
            let both = claim.done.max(other.done) < *lost.min(other_lost);
            if within || both {
                reported.insert(pair(claim, other));
                let (id, host, other_host) = (&claim.grant.id, claim.host, other.host);
                findings.push(Finding {
                    rule: Rule::OneHolder,
                    text: format!("{id} is held by {host} and by {other_host}"),
                    places: vec![claim.place, other.place],
                });
            }
        }
    }
}

fn losses(facts: &Facts<'_>, claims: &[Claim<'_>]) -> Vec<Moment> {
    let claims = claims.iter();
    claims.map(|claim| facts.earliest_loss(claim)).collect()
}

fn pair<'h>(claim: &Claim<'h>, other: &Claim<'h>) -> (&'h Host, &'h Host) {
    let (one, two) = (claim.host, other.host);
    (one.min(two), one.max(two))
}

/// The host has another ID only after it may have lost the one before.
fn check_host(facts: &Facts<'_>, of_host: &HostFacts<'_>, findings: &mut Vec<Finding>) {
    let claims = &of_host.claims;
    let ids: BTreeSet<_> = claims.iter().map(|claim| &claim.grant.id).collect();
    if ids.len() < 2 {
        return;
    }
    let may_follow = |before: &Claim<'_>, after: &Claim<'_>, lost: Moment| {
        before.sent <= after.done && lost <= after.done
    };
    let lost = losses(facts, claims);
    for (place, after) in claims.iter().enumerate() {
        // The last one that contradicts it says most.
        let before = (0..place).rev().find(|earlier| {
            let before = &claims[*earlier];
            before.grant.id != after.grant.id
                && !may_follow(before, after, lost[*earlier])
                && !may_follow(after, before, lost[place])
        });
        let Some(before) = before.map(|before| &claims[before]) else {
            continue;
        };
        let (host, id, other) = (after.host, &after.grant.id, &before.grant.id);
        let overlap = after.sent < before.done;
        findings.push(Finding {
            rule: if overlap { Rule::OneHolder } else { Rule::Kept },
            text: format!("{host} was {other}, could not have lost it, and is {id}"),
            places: vec![before.place, after.place],
        });
        return;
    }
}

/// A host that surely has an ID is not refused one, and is known.
fn check_unknown(
    facts: &Facts<'_>,
    host: &Host,
    of_host: &HostFacts<'_>,
    findings: &mut Vec<Finding>,
) {
    for (place, operation) in facts.history.operations.iter().enumerate() {
        if operation.request.host() != Some(host) {
            continue;
        }
        let is_unknown = match (&operation.request, &operation.outcome) {
            (Request::Register(_), Outcome::Refused(text)) => text.contains("are assigned"),
            (Request::Register(_) | Request::Leave(_), Outcome::NoName) => true,
            _ => false,
        };
        if !is_unknown {
            continue;
        }
        let known = of_host.claims.iter().rev();
        let known = known
            .filter(|claim| claim.done <= operation.sent)
            .find(|claim| facts.surely_has(claim, operation.sent, operation.done));
        if let Some(known) = known {
            let id = &known.grant.id;
            findings.push(Finding {
                rule: Rule::Kept,
                text: format!("{host} is {id}, and is told that it is unknown"),
                places: vec![known.place, place],
            });
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::Outcome;

    #[test]
    fn hosts_with_an_id_each() {
        assert_keeps(&[
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            op(1.0, 1.1, 2, register("b"), granted("vp1", 2, 2)),
            op(90.0, 90.1, 3, register("a"), granted("vp0", 3, 3)),
        ]);
    }

    #[test]
    fn an_id_of_two_hosts() {
        assert_breaks(
            Rule::OneHolder,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
                op(9.0, 9.1, 2, register("b"), granted("vp0", 2, 2)),
            ],
        );
        // Also where neither answer was there before the other question.
        assert_breaks(
            Rule::OneHolder,
            &[
                op(1.0, 3.0, 1, register("a"), granted("vp0", 1, 1)),
                op(1.0, 3.0, 2, register("b"), granted("vp0", 2, 2)),
            ],
        );
    }

    #[test]
    fn a_released_id_may_have_another_host() {
        assert_keeps(&[
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            op(2.0, 2.1, 9, release("a"), Outcome::Released),
            op(3.0, 3.1, 2, register("b"), granted("vp0", 2, 2)),
            op(4.0, 4.1, 1, register("a"), granted("vp1", 3, 1)),
        ]);
        // Even if nobody knows when it was released.
        assert_keeps(&[
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            lost(2.0, 9, release("a")),
            op(12.0, 12.1, 2, register("b"), granted("vp0", 2, 2)),
        ]);
        assert_breaks(
            Rule::OneHolder,
            &[
                op(1.0, 1.1, 9, release("a"), Outcome::Released),
                op(2.0, 2.1, 1, register("a"), granted("vp0", 1, 1)),
                op(3.0, 3.1, 2, register("b"), granted("vp0", 2, 2)),
            ],
        );
    }

    /// With a lease of 5 s, and 15 s until it is reclaimed.
    #[test]
    fn a_limited_id_passes_on_after_silence_only() {
        let held = op(1.0, 1.1, 1, register("a"), granted("nvp0", 1, 1));
        let passes = |at: f64| op(at, at + 0.1, 2, register("b"), granted("nvp0", 2, 2));
        let held = held.limited();
        assert_keeps(&[held.clone(), passes(21.0).limited()]);
        assert_breaks(Rule::OneHolder, &[held.clone(), passes(20.0).limited()]);
        let left = op(2.0, 2.1, 1, leave("a"), left("nvp0")).limited();
        assert_keeps(&[held.clone(), left.clone(), passes(17.0).limited()]);
        assert_breaks(Rule::OneHolder, &[held, left, passes(16.0).limited()]);
    }

    #[test]
    fn a_host_whose_id_is_another() {
        assert_breaks(
            Rule::Kept,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
                op(90.0, 90.1, 1, register("a"), granted("vp1", 2, 1)),
            ],
        );
        assert_breaks(
            Rule::OneHolder,
            &[
                op(1.0, 2.0, 1, register("a"), granted("vp0", 1, 1)),
                op(1.5, 2.5, 1, register("a"), granted("vp1", 2, 1)),
            ],
        );
    }

    #[test]
    fn a_host_that_is_forgotten() {
        let full = || refused("all 4 numbers of nvp are assigned; a number is reassigned");
        let held = op(1.0, 1.1, 1, register("a"), granted("nvp0", 1, 1)).limited();
        let late = op(21.5, 21.6, 1, register("a"), full()).limited();
        assert_keeps(&[held.clone(), late]);
        let early = op(19.0, 19.1, 1, register("a"), full()).limited();
        assert_breaks(Rule::Kept, &[held, early]);
        let held = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
        let left = op(2.0, 2.1, 1, leave("a"), Outcome::NoName);
        assert_breaks(Rule::Kept, &[held, left]);
    }
}
