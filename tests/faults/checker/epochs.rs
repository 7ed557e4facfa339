//! The epochs of an ID and of a host never fall, and rise whenever the holder changes.
//!
//! This holds for whatever shows an epoch, where the later query is for a host's own
//! name: no replica answers that one while there may be a later holder.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding, Rule,
    facts::{Facts, Show},
};

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    shared(&facts.shows, findings);
    let mut by_host: BTreeMap<_, Vec<&Show<'_>>> = BTreeMap::new();
    let mut by_id: BTreeMap<_, Vec<&Show<'_>>> = BTreeMap::new();
    for show in &facts.shows {
        by_id.entry(&show.grant.id).or_default().push(show);
        if let Some(host) = show.host {
            by_host.entry(host).or_default().push(show);
        }
    }
    let by_host = by_host
        .iter()
        .map(|(host, shows)| (host.to_string(), shows));
    let by_id = by_id.iter().map(|(id, shows)| ((*id).clone(), shows));
    let mut reported = Vec::new();
    for (name, shows) in by_host.chain(by_id) {
        // What is wrong with a host is wrong with its ID.
        let finding = fallen(&name, shows);
        if let Some(finding) = finding.filter(|it| !reported.contains(&it.places)) {
            reported.push(finding.places.clone());
            findings.push(finding);
        }
    }
}

/// Two registrations with one epoch.
fn shared(shows: &[Show<'_>], findings: &mut Vec<Finding>) {
    let mut first: BTreeMap<u64, Show<'_>> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for show in shows {
        let epoch = show.grant.epoch;
        let other = first.entry(epoch).or_insert(*show);
        let hosts = other.host.zip(show.host);
        if other.grant != show.grant || hosts.is_some_and(|(one, two)| one != two) {
            if reported.insert(epoch) {
                findings.push(Finding {
                    rule: Rule::Epochs,
                    text: format!("two registrations have the epoch {epoch}"),
                    places: vec![other.place, show.place],
                });
            }
        } else if other.host.is_none() {
            *other = *show;
        }
    }
}

/// An epoch that is lower than one that was answered before the query was sent.
fn fallen(name: &str, shows: &[&Show<'_>]) -> Option<Finding> {
    let mut answered: Vec<&Show<'_>> = shows.to_vec();
    answered.sort_by_key(|show| show.done);
    let mut answered = answered.into_iter().peekable();
    let mut highest: Option<&Show<'_>> = None;
    for show in shows.iter().filter(|show| show.host.is_some()) {
        while let Some(before) = answered.next_if(|before| before.done < show.sent) {
            if highest.is_none_or(|highest| highest.grant.epoch <= before.grant.epoch) {
                highest = Some(before);
            }
        }
        if let Some(highest) = highest.filter(|it| it.grant.epoch > show.grant.epoch) {
            let (from, to) = (highest.grant.epoch, show.grant.epoch);
            return Some(Finding {
                rule: Rule::Epochs,
                text: format!("the epoch of {name} falls from {from} to {to}"),
                places: vec![highest.place, show.place],
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::{Outcome, Request};

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
    fn an_epoch_that_others_are_told_falls() {
        let state_of_id = |at: f64, epoch, holder| {
            let request = Request::StateOfId("vp0".into());
            op(at, at + 0.1, 8, request, granted("vp0", epoch, holder)).at(1)
        };
        let held = [
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            lost(8.0, 2, register("a")),
        ];
        let shown = state_of_id(9.0, 4, 2);
        let to_holder = op(9.2, 9.3, 1, register("a"), granted("vp0", 1, 1));
        let to_other = op(9.2, 9.3, 3, register("a"), granted("vp0", 1, 1));
        for later in [to_holder, to_other] {
            let operations = [held.to_vec(), vec![later.clone()]].concat();
            assert_keeps(&operations);
            let operations = [held.to_vec(), vec![shown.clone(), later]].concat();
            assert_breaks(Rule::Epochs, &operations);
        }
        // A read may be older.
        let taken = op(9.0, 9.1, 2, register("a"), granted("vp0", 4, 2));
        assert_keeps(&[held[0].clone(), taken, state_of_id(9.2, 1, 1)]);
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

    #[test]
    fn an_epoch_of_two_ids() {
        assert_breaks(
            Rule::Epochs,
            &[
                op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
                op(2.0, 2.1, 2, register("b"), granted("vp1", 1, 2)),
            ],
        );
    }
}
