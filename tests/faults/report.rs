//! What is printed at the end of a run: figures, and every violation with what happened
//! around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use crate::{
    checker::{Finding, Rule},
    history::{Extent, Fault, Grant, History, Host, Moment, Operation, Outcome, Request, seconds},
};

/// How far around a violation operations are shown, and how many of them.
const AROUND: Duration = Duration::from_secs(3);
const MAX_LINES: usize = 60;

/// How many violations of one rule are shown.
const MAX_SHOWN: usize = 5;

/// The figures of a run.
pub fn summary(history: &History, findings: &[Finding]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(out, "operations, by what was asked and answered:");
    let mut kinds: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    for operation in &history.operations {
        let outcomes = kinds.entry(operation.request.kind()).or_default();
        *outcomes.entry(operation.outcome.kind()).or_default() += 1;
        if let Outcome::Refused(text) | Outcome::Failed(text) | Outcome::Strange(text) =
            &operation.outcome
        {
            *texts.entry(general(text)).or_default() += 1;
        }
    }
    for (kind, outcomes) in kinds {
        let outcomes = outcomes.iter();
        let outcomes: Vec<String> = outcomes
            .map(|(it, count)| format!("{count} {it}"))
            .collect();
        let _ = writeln!(out, "  {kind:<12} {}", outcomes.join(", "));
    }
    if !texts.is_empty() {
        let _ = writeln!(out, "reasons of refusals and failures:");
    }
    for (text, count) in texts {
        let _ = writeln!(out, "  {count:>5}  {text}");
    }
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in &history.faults {
        *faults.entry(fault.kind).or_default() += 1;
    }
    let faults: Vec<String> = faults
        .iter()
        .map(|(it, count)| format!("{count} {it}"))
        .collect();
    let _ = writeln!(out, "faults: {}", faults.join(", "));
    out.push_str(&holders(history));
    out.push_str(&gaps(history));
    let _ = writeln!(out, "findings, by rule:");
    for rule in Rule::ALL {
        let count = findings.iter().filter(|it| it.rule == rule).count();
        let kind = if rule.is_law() {
            "violations"
        } else {
            "cases, which are no violations"
        };
        let _ = writeln!(out, "  {}: {count} {kind}", rule.title());
    }
    out
}

/// A text without what is particular to a host.
fn general(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let has_digit = word.chars().any(|it| it.is_ascii_digit());
        if has_digit { "…" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// How many hosts were registered, and how often one had another holder or ID.
fn holders(history: &History) -> String {
    let mut last: BTreeMap<&Host, &Grant> = BTreeMap::new();
    let (mut holders, mut ids) = (0, 0);
    for operation in &history.operations {
        if let (Request::Register(host), Outcome::Granted(grant)) =
            (&operation.request, &operation.outcome)
            && let Some(before) = last.insert(host, grant)
        {
            holders += usize::from(before.id == grant.id && before.epoch < grant.epoch);
            ids += usize::from(before.id != grant.id);
        }
    }
    let hosts = last.len();
    format!(
        "{hosts} hosts were registered; {holders} times a host passed to another holder, {ids} times it had another ID\n"
    )
}

/// The longest times without a new host while at most a minority was broken, and while
/// anything was.
fn gaps(history: &History) -> String {
    let mut out = String::new();
    let new = new_hosts(history);
    for (extent, what) in [
        (Extent::Minority, "a minority"),
        (Extent::Anything, "anything"),
    ] {
        let rounds = history.rounds.iter().filter(|it| it.extent == extent);
        let longest = rounds
            .map(|round| {
                let end = round.recovered.unwrap_or(round.healed);
                longest_gap(&new, round.begins, end)
            })
            .max();
        let Some((length, at)) = longest else {
            continue;
        };
        let _ = writeln!(
            out,
            "the longest time without a new host when {what} was broken: {} s, from {}",
            seconds(length),
            seconds(at)
        );
        for fault in during(history, at.saturating_sub(AROUND), at + length) {
            let _ = writeln!(out, "  {fault}");
        }
    }
    out
}

/// When hosts were told for the first time that they are registered.
fn new_hosts(history: &History) -> Vec<Moment> {
    let mut known = BTreeSet::new();
    let mut new: Vec<Moment> = history
        .operations
        .iter()
        .filter_map(|operation| match (&operation.request, &operation.outcome) {
            (Request::Register(host), Outcome::Granted(_)) => {
                known.insert(host).then_some(operation.done)
            }
            _ => None,
        })
        .collect();
    new.sort_unstable();
    new
}

/// The longest time between two of the moments, from `begins` to `ends`, and when it
/// began.
fn longest_gap(moments: &[Moment], begins: Moment, ends: Moment) -> (Duration, Moment) {
    let within = moments.iter().filter(|it| begins < **it && **it < ends);
    let mut last = begins;
    let mut longest = (Duration::ZERO, begins);
    for moment in within.chain([&ends]) {
        longest = longest.max((moment.saturating_sub(last), last));
        last = *moment;
    }
    longest
}

fn during(history: &History, from: Moment, to: Moment) -> impl Iterator<Item = &Fault> {
    let faults = history.faults.iter();
    faults.filter(move |fault| fault.begins <= to && from <= fault.ends)
}

/// The violations, each with what happened to the same host or ID around it.
pub fn violations(history: &History, findings: &[Finding]) -> String {
    let mut out = String::new();
    for rule in Rule::ALL.into_iter().filter(|rule| rule.is_law()) {
        let of_rule: Vec<&Finding> = findings.iter().filter(|it| it.rule == rule).collect();
        for finding in of_rule.iter().take(MAX_SHOWN) {
            let _ = writeln!(out, "VIOLATION ({}): {}", rule.title(), finding.text);
            out.push_str(&surroundings(history, finding));
        }
        if of_rule.len() > MAX_SHOWN {
            let _ = writeln!(out, "{} more of this kind", of_rule.len() - MAX_SHOWN);
        }
    }
    out
}

/// What happened around a finding: its own lines are marked.
fn surroundings(history: &History, finding: &Finding) -> String {
    let shown = || {
        finding
            .places
            .iter()
            .map(|place| &history.operations[*place])
    };
    let hosts: BTreeSet<&Host> = shown().filter_map(|it| it.request.host()).collect();
    let ids: BTreeSet<&String> = shown().filter_map(Operation::id).collect();
    // Who read what explains only what was read.
    let shows_reads = shown().any(|it| it.request.is_read());
    let is_near = |moment: Moment| {
        shown().any(|it| it.sent.saturating_sub(AROUND) <= moment && moment <= it.done + AROUND)
    };
    let mut lines: Vec<(Moment, String)> = Vec::new();
    for (place, operation) in history.operations.iter().enumerate() {
        let is_own = finding.places.contains(&place);
        let concerns = operation
            .request
            .host()
            .is_some_and(|it| hosts.contains(it))
            || operation.id().is_some_and(|it| ids.contains(it));
        let is_told = shows_reads || !operation.request.is_read();
        if is_own || concerns && is_told && is_near(operation.sent) {
            let mark = if is_own { '>' } else { ' ' };
            lines.push((operation.sent, format!("{mark} {operation}")));
        }
    }
    let begins = shown().map(|it| it.sent).min().unwrap_or_default();
    let ends = shown().map(|it| it.done).max().unwrap_or_default();
    for fault in during(history, begins.saturating_sub(AROUND), ends + AROUND) {
        lines.push((fault.begins, format!("  {fault}")));
    }
    lines.sort();
    let mut out = String::new();
    let excess = lines.len().saturating_sub(MAX_LINES);
    for (number, (_, line)) in lines.iter().enumerate() {
        // Those of the finding itself are never left out.
        if number < MAX_LINES || line.starts_with('>') {
            let _ = writeln!(out, "  {line}");
        }
    }
    if excess > 0 {
        let _ = writeln!(out, "  ({excess} more lines)");
    }
    out
}

/// The whole history, a line for each operation and each fault.
pub fn lines(history: &History) -> String {
    let operations = history.operations.iter();
    let operations = operations.map(|it| (it.sent, it.to_string()));
    let faults = history.faults.iter().map(|it| (it.begins, it.to_string()));
    let mut lines: Vec<(Moment, String)> = operations.chain(faults).collect();
    lines.sort();
    let lines = lines.into_iter().map(|(_, line)| line + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_may_be_anywhere() {
        let at = |list: &[u64]| -> Vec<Moment> {
            list.iter().map(|it| Moment::from_secs(*it)).collect()
        };
        let gap = |list: &[u64]| {
            let (length, start) =
                longest_gap(&at(list), Moment::from_secs(10), Moment::from_secs(20));
            (length.as_secs(), start.as_secs())
        };
        assert_eq!(gap(&[]), (10, 10));
        assert_eq!(gap(&[1, 17, 18, 30]), (7, 10));
        assert_eq!(gap(&[11, 12, 16, 19]), (4, 12));
        assert_eq!(gap(&[11, 13, 14]), (6, 14));
    }

    #[test]
    fn texts_are_counted_whatever_their_numbers_are() {
        let text = general("the lease of n12 (vp3) has ended");
        assert_eq!(text, "the lease of … … has ended");
    }
}
