//! The epochs of an ID and of a host never fall, and rise whenever the holder changes.

use std::collections::BTreeMap;

use super::{
    Finding, Rule,
    facts::{Claim, Facts},
};

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let hosts = facts.hosts.iter();
    let by_host = hosts.map(|(host, of_host)| (host.to_string(), &of_host.claims));
    let ids = facts.ids.iter();
    let by_id = ids.map(|(id, claims)| ((*id).clone(), claims));
    let mut reported = Vec::new();
    for (name, claims) in by_host.chain(by_id) {
        for finding in [shared(&name, claims), fallen(&name, claims)] {
            // What is wrong with a host is wrong with its ID.
            if let Some(finding) = finding.filter(|it| !reported.contains(&it.places)) {
                reported.push(finding.places.clone());
                findings.push(finding);
            }
        }
    }
}

/// Two holders with one epoch.
fn shared(name: &str, claims: &[Claim<'_>]) -> Option<Finding> {
    let mut first: BTreeMap<u64, &Claim<'_>> = BTreeMap::new();
    for claim in claims {
        let epoch = claim.grant.epoch;
        let other = *first.entry(epoch).or_insert(claim);
        if (other.host, other.grant) != (claim.host, claim.grant) {
            return Some(Finding {
                rule: Rule::Epochs,
                text: format!("two holders of {name} have the epoch {epoch}"),
                places: vec![other.place, claim.place],
            });
        }
    }
    None
}

/// An epoch that is lower than one that was answered before the query was sent.
fn fallen(name: &str, claims: &[Claim<'_>]) -> Option<Finding> {
    let mut answered: Vec<&Claim<'_>> = claims.iter().collect();
    answered.sort_by_key(|claim| claim.done);
    let mut answered = answered.into_iter().peekable();
    let mut highest: Option<&Claim<'_>> = None;
    for claim in claims {
        while let Some(before) = answered.next_if(|before| before.done < claim.sent) {
            if highest.is_none_or(|highest| highest.grant.epoch <= before.grant.epoch) {
                highest = Some(before);
            }
        }
        if let Some(highest) = highest.filter(|it| it.grant.epoch > claim.grant.epoch) {
            let (from, to) = (highest.grant.epoch, claim.grant.epoch);
            return Some(Finding {
                rule: Rule::Epochs,
                text: format!("the epoch of {name} falls from {from} to {to}"),
                places: vec![highest.place, claim.place],
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::Outcome;

    #[test]
    fn an_epoch_that_rises_with_each_holder() {
        assert_keeps(&[
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            op(2.0, 2.1, 1, register("a"), granted("vp0", 1, 1)),
            op(9.0, 9.3, 2, register("a"), granted("vp0", 4, 2)),
            // It was sent before the other one was answered.
            op(9.1, 9.4, 3, register("a"), granted("vp0", 1, 1)),
            op(9.5, 9.6, 1, register("a"), granted("vp0", 4, 2)),
        ]);
    }

    #[test]
    fn an_epoch_that_falls() {
        assert_breaks(
            Rule::Epochs,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
                op(9.0, 9.1, 2, register("a"), granted("vp0", 4, 2)),
                op(9.2, 9.3, 1, register("a"), granted("vp0", 1, 1)).at(1),
                op(9.4, 9.5, 2, register("a"), granted("vp0", 4, 2)),
            ],
        );
        // Of an ID, whoever its host is.
        assert_breaks(
            Rule::Epochs,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 4, 1)),
                op(2.0, 2.1, 9, release("a"), Outcome::Released),
                op(3.0, 3.1, 2, register("b"), granted("vp0", 2, 2)),
            ],
        );
    }

    #[test]
    fn an_epoch_of_two_holders() {
        assert_breaks(
            Rule::Epochs,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
                op(9.0, 9.1, 2, register("a"), granted("vp0", 1, 2)),
            ],
        );
    }
}
