//! Serials that fall from one replica to another. They are only counted, since a replica
//! may lag behind: how far is the matter of `reads`, as are the serials of one replica.

use super::{Finding, Rule};
use crate::history::{History, Moment, Outcome};

/// A serial in an answer.
#[derive(Clone, Copy)]
struct Seen {
    place: usize,
    replica: usize,
    serial: u32,
    sent: Moment,
    done: Moment,
}

pub fn check(history: &History, findings: &mut Vec<Finding>) {
    let operations = history.operations.iter().enumerate();
    let seen: Vec<Seen> = operations
        .filter_map(|(place, operation)| match operation.outcome {
            Outcome::Serial(serial) => Some(Seen {
                place,
                replica: operation.replica,
                serial,
                sent: operation.sent,
                done: operation.done,
            }),
            _ => None,
        })
        .collect();
    for (before, after) in falls(&seen) {
        if before.replica != after.replica {
            findings.push(finding(before, after));
        }
    }
}

fn finding(before: Seen, after: Seen) -> Finding {
    let text = format!(
        "the serial falls from {} at replica {} to {} at replica {}",
        before.serial, before.replica, after.serial, after.replica
    );
    Finding {
        rule: Rule::SerialsOfReplicas,
        text,
        places: vec![before.place, after.place],
    }
}

/// Serials that are lower than one that was answered before the query was sent.
fn falls(seen: &[Seen]) -> Vec<(Seen, Seen)> {
    let mut answered = seen.to_vec();
    answered.sort_by_key(|it| it.done);
    let mut answered = answered.into_iter().peekable();
    let mut highest: Option<Seen> = None;
    let mut falls = Vec::new();
    for after in seen {
        while let Some(before) = answered.next_if(|before| before.done < after.sent) {
            if highest.is_none_or(|highest| !is_lower(before.serial, highest.serial)) {
                highest = Some(before);
            }
        }
        if let Some(highest) = highest.filter(|highest| is_lower(after.serial, highest.serial)) {
            falls.push((highest, *after));
        }
    }
    falls
}

/// RFC 1982, section 3.2.
fn is_lower(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, sample::*};
    use crate::history::{Operation, Outcome, Request};

    fn serial(sent: f64, done: f64, serial: u32) -> Operation {
        op(sent, done, 1, Request::Serial, Outcome::Serial(serial))
    }

    #[test]
    fn serials_that_rise() {
        assert_keeps(&[
            serial(1.0, 1.1, 7),
            serial(2.0, 3.0, 9),
            serial(2.5, 2.6, 8),
            serial(4.0, 4.1, 9).at(1),
        ]);
    }

    #[test]
    fn a_serial_that_falls_at_a_replica() {
        assert_breaks(Rule::Serials, &[serial(1.0, 1.1, 7), serial(2.0, 2.1, 6)]);
    }

    #[test]
    fn a_serial_that_is_lower_at_another() {
        let operations = [serial(1.0, 1.1, 7), serial(2.0, 2.1, 6).at(1)];
        assert_breaks(Rule::SerialsOfReplicas, &operations);
        assert!(!Rule::SerialsOfReplicas.is_law());
    }
}
