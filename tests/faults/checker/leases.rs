//! No lease is taken while it runs: who was answered as the holder keeps the host for
//! one lease from its query, unless it leaves or an administrator releases the host.

use std::collections::BTreeMap;

use super::{
    Finding, Rule,
    facts::{Claim, Effect, Facts, HostFacts, Show},
};
use crate::history::{Host, seconds};

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut shows: BTreeMap<&Host, Vec<&Show<'_>>> = BTreeMap::new();
    for show in &facts.shows {
        if let Some(host) = show.host {
            shows.entry(host).or_default().push(show);
        }
    }
    for (host, shows) in shows {
        let of_host = facts.of(host);
        findings.extend(of_host.and_then(|of_host| taken(facts, &shows, of_host)));
    }
}

/// The first lease that was taken: somebody was told of a later holder while it ran.
fn taken(facts: &Facts<'_>, shows: &[&Show<'_>], of_host: &HostFacts<'_>) -> Option<Finding> {
    let lease = facts.law.lease;
    for after in shows {
        let (host, holder) = (after.host?, after.grant.holder);
        // Which of two holders was first is told by the epoch.
        let robbed = of_host.claims.iter().filter(|before| {
            before.client != holder
                && before.grant.epoch < after.grant.epoch
                && before.sent <= after.done
                && after.done < before.sent + lease
        });
        let mut robbed =
            robbed.filter(|before| !gave_up(of_host, before, after) && !is_stale(shows, before));
        if let Some(before) = robbed.next_back() {
            let early = seconds(before.sent + lease - after.done);
            let client = before.client;
            return Some(Finding {
                rule: Rule::Leases,
                text: format!("{holder} took {host} from {client}, {early} s before it might"),
                places: vec![before.place, after.place],
            });
        }
    }
    None
}

/// Whether another holder had been shown before. That is a matter of epochs.
fn is_stale(shows: &[&Show<'_>], claim: &Claim<'_>) -> bool {
    let mut shows = shows.iter();
    shows.any(|it| it.done < claim.sent && it.grant.epoch > claim.grant.epoch)
}

/// Whether the lease may have ended before its time.
fn gave_up(of_host: &HostFacts<'_>, before: &Claim<'_>, after: &Show<'_>) -> bool {
    let touches = |effect: &&Effect| effect.touches(before.sent, after.done);
    let mut leaves = of_host.leaves.iter().filter(touches);
    leaves.any(|leave| leave.client == before.client)
        || of_host.releases.iter().any(|it| touches(&it))
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::Outcome;

    #[test]
    fn a_lease_passes_on_when_it_has_ended() {
        assert_keeps(&[
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            op(2.0, 2.1, 1, register("a"), granted("vp0", 1, 1)),
            op(6.9, 6.95, 2, register("a"), granted("vp0", 1, 1)),
            op(6.9, 7.0, 2, register("a"), granted("vp0", 2, 2)),
        ]);
    }

    #[test]
    fn a_lease_is_taken() {
        let held = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
        let renewed = op(2.0, 2.1, 1, register("a"), granted("vp0", 1, 1)).at(1);
        let taken = op(6.8, 6.9, 2, register("a"), granted("vp0", 2, 2)).at(2);
        assert_keeps(&[held.clone(), taken.clone()]);
        assert_breaks(Rule::Leases, &[held, renewed, taken]);
    }

    /// Others are told of the holder who took it.
    #[test]
    fn a_lease_is_taken_by_one_that_had_no_answer() {
        let held = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
        let asked = lost(2.0, 2, register("a"));
        let shown = |at: f64| op(at - 0.1, at, 3, register("a"), granted("vp0", 2, 2));
        assert_keeps(&[held.clone(), asked.clone(), shown(6.1)]);
        assert_breaks(Rule::Leases, &[held, asked, shown(5.9)]);
    }

    #[test]
    fn a_lease_that_was_given_up_is_not_taken() {
        let held = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
        let taken = op(3.0, 3.1, 2, register("a"), granted("vp0", 2, 2));
        let leave_of = |client| op(2.0, 2.1, client, leave("a"), left("vp0"));
        assert_keeps(&[held.clone(), leave_of(1), taken.clone()]);
        assert_keeps(&[held.clone(), lost(2.0, 1, leave("a")), taken.clone()]);
        let by_other = op(2.0, 2.1, 3, leave("a"), refused("another client holds it"));
        assert_breaks(Rule::Leases, &[held.clone(), by_other, taken.clone()]);
        // It was renewed after that.
        let renewed = op(2.5, 2.6, 1, register("a"), granted("vp0", 1, 1));
        assert_breaks(
            Rule::Leases,
            &[held.clone(), leave_of(1), renewed, taken.clone()],
        );
        let released = op(2.0, 2.1, 9, release("a"), Outcome::Released);
        assert_keeps(&[held, released, taken]);
    }
}
