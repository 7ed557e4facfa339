//! A read shows a state that was there at some moment between the staleness before it
//! was asked and its answer.
//!
//! An address must have been that of a holder in that time; whether its lease was
//! running is not asked, since every host counts as live for one lease when there is a
//! new writer. A read that shows less than there is, is only counted: a replica that is
//! cut off does not know of a new host, or of a lease that is renewed elsewhere.

use std::net::Ipv4Addr;

use super::{
    Finding, Rule,
    facts::{Claim, Effect, Facts, HostFacts},
};
use crate::history::{Host, Id, Moment, Operation, Outcome, Request};

pub fn check(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let uncertain = uncertain(facts);
    let known = known(facts);
    for (place, operation) in facts.history.operations.iter().enumerate() {
        let read = Read {
            facts,
            place,
            operation,
            from: operation.sent.saturating_sub(facts.law.staleness()),
        };
        let finding = match (&operation.request, &operation.outcome) {
            (Request::AddressOfHost(host), Outcome::Address(address)) => {
                read.address_of_host(host, *address)
            }
            (Request::AddressOfId(id), Outcome::Address(address)) => {
                read.address_of_id(id, *address, &uncertain)
            }
            (Request::AddressOfHost(host), Outcome::NoName) => read.no_name(host),
            (Request::AddressOfHost(host), Outcome::NoAddress) => read.no_address(host),
            (_, Outcome::Summary { peers, live }) => read.summary(*peers, *live, &known),
            _ => None,
        };
        findings.extend(finding);
    }
}

/// Queries that may have made their client the holder of any host, unseen.
fn uncertain(facts: &Facts<'_>) -> Vec<Effect> {
    let all = facts.hosts.values().flat_map(|it| &it.registrations);
    all.filter(|effect| !effect.is_certain).copied().collect()
}

/// When each host asked to be registered for the first time, in order.
fn known(facts: &Facts<'_>) -> Vec<Moment> {
    let hosts = facts.hosts.values();
    let firsts = hosts.filter_map(|it| it.registrations.iter().map(|effect| effect.from).min());
    let mut firsts: Vec<Moment> = firsts.collect();
    firsts.sort_unstable();
    firsts
}

/// A read, and the earliest moment whose state it may show.
struct Read<'f, 'h> {
    facts: &'f Facts<'h>,
    place: usize,
    operation: &'h Operation,
    from: Moment,
}

impl Read<'_, '_> {
    fn address_of_host(&self, host: &Host, address: Ipv4Addr) -> Option<Finding> {
        let Some(of_host) = self.facts.of(host) else {
            return self.finding(Rule::Reads, format!("{host} never registered"), None);
        };
        let released = of_host.releases.iter();
        let released = released
            .filter(|it| it.is_certain && it.to < self.from)
            .map(|it| (it.from, it.place));
        let asked = &of_host.registrations;
        self.explain(host.to_string(), address, &of_host.claims, released, asked)
    }

    fn address_of_id(&self, id: &Id, address: Ipv4Addr, uncertain: &[Effect]) -> Option<Finding> {
        let none = Vec::new();
        let claims = self.facts.ids.get(id).unwrap_or(&none);
        self.explain(id.clone(), address, claims, std::iter::empty(), uncertain)
    }

    /// The address must be that of a holder. `released` are moments since which there
    /// was no holder, `asked` the queries that may have made someone the holder.
    fn explain(
        &self,
        name: String,
        address: Ipv4Addr,
        claims: &[Claim<'_>],
        released: impl Iterator<Item = (Moment, usize)>,
        asked: &[Effect],
    ) -> Option<Finding> {
        // The last moment before that time at which it surely was not the holder's.
        let others = claims.iter();
        let others = others
            .filter(|claim| claim.grant.holder != address && claim.done < self.from)
            .map(|claim| (claim.sent, claim.place));
        let contrary = others.chain(released).max();
        let since = contrary.map_or(Moment::ZERO, |(sent, _)| sent);
        let is_in_time = |from: Moment, to: Moment| since <= to && from <= self.operation.done;
        let was_shown = claims
            .iter()
            .any(|it| it.grant.holder == address && is_in_time(it.sent, it.done));
        let may_be = asked
            .iter()
            .any(|it| it.client == address && is_in_time(it.from, it.to));
        if was_shown || may_be {
            return None;
        }
        let text = match contrary {
            Some(_) => format!("{address} was no longer the address of {name}"),
            None => format!("{address} never was the address of {name}"),
        };
        self.finding(Rule::Reads, text, contrary.map(|(_, place)| place))
    }

    /// A host that surely was registered.
    fn no_name(&self, host: &Host) -> Option<Finding> {
        let to = self.operation.done;
        let mut claims = self.facts.of(host)?.claims.iter().rev();
        let known = claims.find(|claim| self.facts.surely_has(claim, self.from, to))?;
        let text = format!("{host} is not known, and has been registered");
        self.finding(Rule::ReadsBehind, text, Some(known.place))
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
        let start = self.from.saturating_sub(lease);
        if leaves
            .iter()
            .chain(releases)
            .any(|it| it.touches(start, to))
        {
            return None;
        }
        let mut runs_until = self.from;
        let mut last = None;
        for claim in claims.iter().filter(|claim| claim.is_own()) {
            if claim.done <= runs_until && runs_until < claim.sent + lease {
                runs_until = claim.sent + lease;
                last = Some(claim.place);
            }
        }
        if runs_until <= to {
            return None;
        }
        let text = format!("{host} has no address, and its lease was running");
        self.finding(Rule::ReadsBehind, text, last)
    }

    fn summary(&self, peers: usize, live: usize, known: &[Moment]) -> Option<Finding> {
        let most = known.partition_point(|asked| *asked <= self.operation.done);
        if live <= peers && peers <= most {
            return None;
        }
        let text = format!("{peers} peers, {live} of them live, when {most} hosts had asked");
        self.finding(Rule::Reads, text, None)
    }

    fn finding(&self, rule: Rule, text: String, other: Option<usize>) -> Option<Finding> {
        Some(Finding {
            rule,
            text,
            places: other.into_iter().chain([self.place]).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::{Operation, Outcome, Request};

    fn read(at: f64, host: &str, holder: u8) -> Operation {
        let outcome = Outcome::Address(address(holder));
        op(at, at + 0.1, 8, address_of_host(host), outcome).at(2)
    }

    fn read_id(at: f64, id: &str, holder: u8) -> Operation {
        let request = Request::AddressOfId(id.to_owned());
        op(at, at + 0.1, 8, request, Outcome::Address(address(holder)))
    }

    fn two_holders() -> [Operation; 2] {
        [
            op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
            op(9.0, 9.1, 2, register("a"), granted("vp0", 2, 2)),
        ]
    }

    fn with(further: &[Operation]) -> Vec<Operation> {
        [&two_holders(), further].concat()
    }

    /// With a staleness of 9 s.
    #[test]
    fn an_address_that_is_not_too_old() {
        assert_keeps(&with(&[
            read(2.0, "a", 1),
            read(9.2, "a", 2),
            read(18.0, "a", 1),
            read_id(18.0, "vp0", 1),
            read_id(30.0, "vp0", 2),
        ]));
        // The holder before may have returned unseen.
        let returned = lost(15.0, 1, register("a"));
        assert_keeps(&with(&[
            returned,
            read(30.0, "a", 1),
            read_id(30.0, "vp0", 1),
        ]));
    }

    #[test]
    fn an_address_that_is_too_old() {
        assert_breaks(Rule::Reads, &with(&[read(18.2, "a", 1)]));
        assert_breaks(Rule::Reads, &with(&[read_id(18.2, "vp0", 1)]));
        let released = op(20.0, 20.1, 9, release("a"), Outcome::Released);
        assert_keeps(&with(&[released.clone(), read(29.0, "a", 2)]));
        assert_breaks(Rule::Reads, &with(&[released, read(29.2, "a", 2)]));
    }

    #[test]
    fn an_address_that_never_was() {
        assert_breaks(Rule::Reads, &with(&[read(2.0, "a", 3)]));
        // It was asked before the second one.
        assert_breaks(Rule::Reads, &with(&[read(3.0, "a", 2)]));
        assert_breaks(Rule::Reads, &with(&[read(3.0, "b", 2)]));
    }

    #[test]
    fn a_host_that_is_not_known() {
        let unknown = |at: f64| op(at, at + 0.1, 8, address_of_host("a"), Outcome::NoName);
        assert_keeps(&with(&[unknown(10.0)]));
        assert_breaks(Rule::ReadsBehind, &with(&[unknown(10.2)]));
        assert!(!Rule::ReadsBehind.is_law());
    }

    #[test]
    fn a_host_that_has_no_address() {
        let beats = |until: u32| {
            let beat = |at: u32| {
                let at = f64::from(at);
                op(at, at + 0.1, 1, register("a"), granted("vp0", 1, 1))
            };
            (1..=until).map(beat).collect::<Vec<_>>()
        };
        let none = op(12.0, 12.1, 8, address_of_host("a"), Outcome::NoAddress);
        assert_keeps(&[beats(7), vec![none.clone()]].concat());
        assert_breaks(Rule::ReadsBehind, &[beats(8), vec![none.clone()]].concat());
        let left = op(8.5, 8.6, 1, leave("a"), left("vp0"));
        assert_keeps(&[beats(8), vec![left, none]].concat());
    }

    #[test]
    fn a_number_of_peers() {
        let summary = |at: f64, peers, live| {
            let outcome = Outcome::Summary { peers, live };
            op(at, at + 0.1, 8, Request::Summary, outcome)
        };
        let second = lost(9.5, 2, register("b"));
        let and = |it: Operation| with(&[second.clone(), it]);
        assert_keeps(&and(summary(9.6, 2, 1)));
        assert_keeps(&and(summary(9.2, 1, 1)));
        assert_breaks(Rule::Reads, &and(summary(9.2, 2, 1)));
        assert_breaks(Rule::Reads, &and(summary(9.6, 1, 2)));
    }
}
