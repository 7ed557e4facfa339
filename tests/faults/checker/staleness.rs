//! How old the state may be that a replica shows.
//!
//! The documentation promises that a read is stale by no more than the time that a commit
//! takes to arrive, or by as long as the replica is cut off. A replica counts as cut off
//! while it is broken itself, whatever the fault is, while two members of etcd are broken
//! together, and for some time after that. All other faults do not excuse it: a member
//! of etcd that is lost, another replica, the writer, a clock.

use std::collections::BTreeMap;

use super::Law;
use crate::history::{Cut, Fault, History, Moment};

/// A time from its begin to its end.
type Span = (Moment, Moment);

pub struct Staleness<'h> {
    law: &'h Law,
    /// When each replica that was broken was cut off. Spans do not overlap.
    replicas: BTreeMap<usize, Vec<Span>>,
    /// When all others were.
    all: Vec<Span>,
}

impl<'h> Staleness<'h> {
    pub fn new(history: &History, law: &'h Law) -> Self {
        let all = without_quorum(&history.faults);
        let mut replicas: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
        for fault in &history.faults {
            if let Some(Cut::Replica(replica)) = fault.cut {
                let spans = replicas.entry(replica).or_insert_with(|| all.clone());
                spans.push((fault.begins, fault.ends));
            }
        }
        let merged = |spans| merge(spans, law);
        Self {
            law,
            replicas: replicas
                .into_iter()
                .map(|(replica, spans)| (replica, merged(spans)))
                .collect(),
            all: merged(all),
        }
    }

    /// What had been stored at this moment, the replica must show to a query that was
    /// sent at that time.
    pub fn oldest(&self, replica: usize, sent: Moment) -> Moment {
        let since = self.cut_since(replica, sent).unwrap_or(sent);
        since.saturating_sub(self.law.arrival)
    }

    /// Since when the replica has been cut off at this moment, if it is.
    pub fn cut_since(&self, replica: usize, moment: Moment) -> Option<Moment> {
        let spans = self.replicas.get(&replica).unwrap_or(&self.all);
        let mut cuts = spans.iter();
        let cut = cuts.find(|(begins, ends)| (*begins..=*ends).contains(&moment));
        cut.map(|(begins, _)| *begins)
    }
}

/// When two members were broken at a time.
fn without_quorum(faults: &[Fault]) -> Vec<Span> {
    let members = || {
        let faults = faults.iter();
        faults.filter_map(|fault| match fault.cut {
            Some(Cut::Member(place)) => Some((place, fault.begins, fault.ends)),
            _ => None,
        })
    };
    let mut spans = Vec::new();
    for (place, begins, ends) in members() {
        for (other, other_begins, other_ends) in members() {
            let both = (begins.max(other_begins), ends.min(other_ends));
            if place < other && both.0 <= both.1 {
                spans.push(both);
            }
        }
    }
    spans
}

/// The same spans, each longer by the time until a replica is connected again, without
/// overlaps.
fn merge(mut spans: Vec<Span>, law: &Law) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (begins, ends) in spans {
        let ends = ends + law.reconnection;
        match merged.last_mut() {
            Some(last) if begins <= last.1 => last.1 = last.1.max(ends),
            _ => merged.push((begins, ends)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::sample::{fault, law};
    use super::*;

    /// With 3 s until a commit arrives, and 2 s until a replica is connected again.
    #[test]
    fn a_state_is_older_where_a_replica_is_cut_off() {
        let replica = Some(Cut::Replica(1));
        let history = History {
            faults: vec![
                fault(replica, 10.0, 15.0),
                fault(Some(Cut::Member(0)), 12.0, 40.0),
                fault(replica, 16.0, 18.0),
                fault(None, 20.0, 30.0),
                fault(Some(Cut::Member(2)), 35.0, 50.0),
            ],
            ..History::default()
        };
        let law = law();
        let staleness = Staleness::new(&history, &law);
        let oldest = |replica, sent| {
            let sent = Moment::from_secs_f64(sent);
            staleness.oldest(replica, sent).as_secs_f64()
        };
        assert_eq!(oldest(1, 1.0), 0.0);
        assert_eq!(oldest(1, 9.0), 6.0);
        // Both faults are one, with the time between them.
        assert_eq!(oldest(1, 10.0), 7.0);
        assert_eq!(oldest(1, 15.5), 7.0);
        assert_eq!(oldest(1, 20.0), 7.0);
        assert_eq!(oldest(1, 20.5), 17.5);
        assert_eq!(oldest(0, 15.0), 12.0);
        // Two members are broken from 35 s to 40 s.
        assert_eq!(oldest(0, 34.0), 31.0);
        assert_eq!(oldest(0, 42.0), 32.0);
        assert_eq!(oldest(1, 42.0), 32.0);
        assert_eq!(oldest(2, 43.0), 40.0);
    }
}
