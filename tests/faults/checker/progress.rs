//! When everything is healed, new hosts can register; and nothing has reported a
//! defect of its own.

use super::{Finding, Law, Rule};
use crate::history::{History, Moment, seconds};

pub fn check(history: &History, law: &Law, findings: &mut Vec<Finding>) {
    for round in &history.rounds {
        let waited = round.recovered.map(|it| it.saturating_sub(round.healed));
        if waited.is_some_and(|waited| waited <= law.recovery) {
            continue;
        }
        let waited = waited.map_or("as long as it lasted".to_owned(), seconds);
        findings.push(Finding {
            rule: Rule::Progress,
            text: format!(
                "no new host registered after everything was healed at {}: it was waited for {waited}",
                seconds(round.healed)
            ),
            places: around(history, round.healed),
        });
    }
    for line in &history.defects {
        findings.push(Finding {
            rule: Rule::Defects,
            text: line.clone(),
            places: Vec::new(),
        });
    }
}

/// The first operation after a moment.
fn around(history: &History, moment: Moment) -> Vec<usize> {
    let sent = |operation: &crate::history::Operation| operation.sent >= moment;
    history
        .operations
        .iter()
        .position(sent)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Rule, check, sample::law},
        *,
    };
    use crate::history::{Extent, Round};

    fn rules(recovered: Option<u64>, defects: &[&str]) -> Vec<Rule> {
        let history = History {
            rounds: vec![Round {
                extent: Extent::Anything,
                begins: Moment::from_secs(1),
                healed: Moment::from_secs(10),
                recovered: recovered.map(Moment::from_secs),
            }],
            defects: defects.iter().map(|it| (*it).to_owned()).collect(),
            ..History::default()
        };
        let findings = check(&history, &law());
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn hosts_register_in_time() {
        assert_eq!(rules(Some(40), &[]), []);
    }

    #[test]
    fn hosts_register_late_or_never() {
        assert_eq!(rules(Some(41), &[]), [Rule::Progress]);
        assert_eq!(rules(None, &[]), [Rule::Progress]);
    }

    #[test]
    fn a_process_that_panicked() {
        assert_eq!(rules(Some(11), &["replica 1 panicked"]), [Rule::Defects]);
    }
}
