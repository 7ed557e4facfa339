//! No lease is taken while it runs: who was answered as the holder keeps the host for
//! one lease from its query, unless it leaves or an administrator releases the host.

use super::{
    Finding, Rule,
    facts::{Claim, Effect, Facts, HostFacts},
};
use crate::history::seconds;

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for of_host in facts.hosts.values() {
        if let Some(finding) = taken(facts, of_host) {
            findings.push(finding);
        }
    }
}

/// The first lease that was taken.
fn taken(facts: &Facts<'_>, of_host: &HostFacts<'_>) -> Option<Finding> {
    let lease = facts.law.lease;
    let own = || of_host.claims.iter().filter(|claim| claim.is_own());
    for after in own() {
        // Which of two holders was first is told by the epoch.
        let robbed = own().filter(|before| {
            before.client != after.client
                && before.grant.epoch < after.grant.epoch
                && before.sent <= after.done
                && after.done < before.sent + lease
        });
        let mut robbed =
            robbed.filter(|before| !gave_up(of_host, before, after) && !is_stale(of_host, before));
        if let Some(before) = robbed.next_back() {
            let (host, holder, client) = (after.host, before.client, after.client);
            let early = seconds(before.sent + lease - after.done);
            return Some(Finding {
                rule: Rule::Leases,
                text: format!("{client} took {host} from {holder}, {early} s before it might"),
                places: vec![before.place, after.place],
            });
        }
    }
    None
}

/// Whether another holder had been answered before. That is a matter of epochs.
fn is_stale(of_host: &HostFacts<'_>, claim: &Claim<'_>) -> bool {
    let mut claims = of_host.claims.iter();
    claims.any(|it| it.done < claim.sent && it.grant.epoch > claim.grant.epoch)
}

/// Whether the lease may have ended before its time.
fn gave_up(of_host: &HostFacts<'_>, before: &Claim<'_>, after: &Claim<'_>) -> bool {
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
