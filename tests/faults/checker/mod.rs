//! Whether a history keeps the law. Pure: a history comes in, findings go out.
//!
//! A query has its effect, if any, at one moment between the time when it was sent and
//! the time when it was answered. One without an answer, or with SERVFAIL, may have it
//! up to [`Law::late`] after it was sent. The checker knows no more than that, and
//! reports only what no choice of these moments explains.
//!
//! | file | rule |
//! | --- | --- |
//! | `identities` | no ID has two hosts, no host has two IDs, and no registration is lost |
//! | `leases` | no lease is taken while it runs |
//! | `epochs` | epochs never fall, and rise with each holder |
//! | `serials` | serials never fall |
//! | `reads` | every answer shows a state that was there, not long ago, and no earlier one than before |
//! | `progress` | after everything is healed, new hosts register; nothing panics |
//! | `facts` | a history by host: what the rules above have in common |
//! | `versions`, `states`, `staleness` | the order of the writes; which states explain an answer; how old they may be |

mod epochs;
mod facts;
mod identities;
mod leases;
mod progress;
mod reads;
#[cfg(test)]
mod sample;
mod serials;
#[cfg(test)]
mod simulated;
mod staleness;
mod states;
mod versions;

use std::{collections::BTreeSet, time::Duration};

use crate::history::{History, Outcome};
use facts::Facts;
use staleness::Staleness;
use versions::Versions;

/// The durations on which the law depends.
#[derive(Debug, Clone)]
pub struct Law {
    /// Of a host, as in the zone file.
    pub lease: Duration,
    /// As in the zone file.
    pub reclaim: Duration,
    /// How soon a commit arrives at a replica that is not cut off.
    pub arrival: Duration,
    /// How long after the end of a fault a replica may be cut off.
    pub reconnection: Duration,
    /// How long after it was sent a query may have an effect: the longest time for
    /// which a process is suspended, and that of a commit.
    pub late: Duration,
    /// How soon new hosts must be able to register when everything is healed.
    pub recovery: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    OneHolder,
    Kept,
    Leases,
    Epochs,
    Serials,
    Reads,
    Progress,
    Defects,
    /// Of replicas that are compared with each other.
    SerialsOfReplicas,
}

/// Something that the law does not allow.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: Rule,
    pub text: String,
    /// Which operations show it, by their places in the history.
    pub places: Vec<usize>,
}

impl Rule {
    pub const ALL: [Self; 9] = [
        Self::OneHolder,
        Self::Kept,
        Self::Leases,
        Self::Epochs,
        Self::Serials,
        Self::Reads,
        Self::Progress,
        Self::Defects,
        Self::SerialsOfReplicas,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::OneHolder => "an ID has one host, and a host one ID",
            Self::Kept => "a registration that was answered is kept",
            Self::Leases => "no lease is taken while it runs",
            Self::Epochs => "epochs never fall, and rise with each holder",
            Self::Serials => "the serials of a replica never fall",
            Self::Reads => "an answer shows what there was, in the order of the writes",
            Self::Progress => "new hosts register after everything is healed",
            Self::Defects => "no replica reports a defect, or stays silent",
            Self::SerialsOfReplicas => "serials do not fall from one replica to another",
        }
    }

    /// Whether it is a law. What is not is only counted: a replica that nobody reaches
    /// cannot know what it lacks.
    pub fn is_law(self) -> bool {
        self != Self::SerialsOfReplicas
    }
}

/// All that is wrong with a history.
pub fn check(history: &History, law: &Law) -> Vec<Finding> {
    let facts = Facts::new(history, law);
    let mut findings: Vec<Finding> = Vec::new();
    identities::check(&facts, &mut findings);
    leases::check(&facts, &mut findings);
    epochs::check(&facts, &mut findings);
    serials::check(history, &mut findings);
    let (mut order, mut reads) = (Vec::new(), Vec::new());
    let versions = Versions::new(&facts, &mut order);
    reads::check(&facts, &versions, &mut reads);
    for more in [order, reads] {
        // An answer that breaks another rule breaks these, too.
        let known: BTreeSet<usize> = findings.iter().flat_map(|it| it.places.clone()).collect();
        let is_new = |it: &Finding| it.places.last().is_none_or(|last| !known.contains(last));
        findings.extend(more.into_iter().filter(is_new));
    }
    progress::check(history, law, &mut findings);
    findings.sort_by_key(|finding| finding.rule);
    findings
}

/// How old the oldest state was that a replica showed which was not cut off.
pub fn longest_lag(history: &History, law: &Law) -> Duration {
    let facts = Facts::new(history, law);
    let versions = Versions::new(&facts, &mut Vec::new());
    let staleness = Staleness::new(history, law);
    let lags = history.operations.iter().filter_map(|operation| {
        let (Outcome::Serial(serial), sent) = (&operation.outcome, operation.sent) else {
            return None;
        };
        let is_cut = staleness.cut_since(operation.replica, sent).is_some();
        let replaced = versions.replaced(u64::from(*serial)).filter(|_| !is_cut)?;
        Some(sent.saturating_sub(replaced))
    });
    lags.max().unwrap_or_default()
}
