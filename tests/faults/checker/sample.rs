//! Histories made by hand, for the tests of the rules.

use std::{net::Ipv4Addr, time::Duration};

use super::{Finding, Law, Rule};
use crate::history::{
    Cut, Fault, Grant, History, Host, Moment, Operation, Outcome, Request, Sequence,
};

pub fn law() -> Law {
    Law {
        lease: Duration::from_secs(5),
        reclaim: Duration::from_secs(15),
        arrival: Duration::from_secs(3),
        reconnection: Duration::from_secs(2),
        late: Duration::from_secs(30),
        recovery: Duration::from_secs(30),
    }
}

/// The address of a client.
pub fn address(client: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, client)
}

/// A query that was sent and answered at these seconds.
pub fn op(sent: f64, done: f64, client: u8, request: Request, outcome: Outcome) -> Operation {
    Operation {
        client: address(client),
        request,
        replica: 0,
        sent: Moment::from_secs_f64(sent),
        done: Moment::from_secs_f64(done),
        outcome,
    }
}

/// A query without an answer.
pub fn lost(sent: f64, client: u8, request: Request) -> Operation {
    let outcome = Outcome::NoAnswer("time is up".into());
    op(sent, sent + 5.0, client, request, outcome)
}

fn host(label: &str) -> Host {
    Host {
        label: label.to_owned(),
        sequence: Sequence::Open,
    }
}

pub fn register(label: &str) -> Request {
    Request::Register(host(label))
}

pub fn leave(label: &str) -> Request {
    Request::Leave(host(label))
}

pub fn release(label: &str) -> Request {
    Request::Release(host(label))
}

pub fn address_of_host(label: &str) -> Request {
    Request::AddressOfHost(host(label))
}

pub fn granted(id: &str, epoch: u64, holder: u8) -> Outcome {
    Outcome::Granted(Grant {
        id: id.to_owned(),
        epoch,
        holder: address(holder),
    })
}

pub fn left(id: &str) -> Outcome {
    Outcome::Left(id.to_owned())
}

pub fn refused(text: &str) -> Outcome {
    Outcome::Refused(text.to_owned())
}

impl Operation {
    pub fn at(mut self, replica: usize) -> Self {
        self.replica = replica;
        self
    }

    /// The same for a host of the limited sequence.
    pub fn limited(mut self) -> Self {
        match &mut self.request {
            Request::Register(host)
            | Request::Leave(host)
            | Request::Release(host)
            | Request::AddressOfHost(host) => host.sequence = Sequence::Limited,
            Request::AddressOfId(_)
            | Request::StateOfId(_)
            | Request::Serial
            | Request::Summary => {}
        }
        self
    }
}

/// A fault from one second to another.
pub fn fault(cut: Option<Cut>, begins: f64, ends: f64) -> Fault {
    Fault {
        kind: "suspension",
        text: "is suspended".to_owned(),
        cut,
        begins: Moment::from_secs_f64(begins),
        ends: Moment::from_secs_f64(ends),
    }
}

pub fn history(operations: &[Operation]) -> History {
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| operation.sent);
    History {
        operations,
        ..History::default()
    }
}

/// All that is wrong with operations while there were these faults.
fn findings(operations: &[Operation], faults: &[Fault]) -> Vec<Finding> {
    let mut history = history(operations);
    history.faults = faults.to_vec();
    super::check(&history, &law())
}

/// Asserts that nothing is wrong with the history.
pub fn assert_keeps(operations: &[Operation]) {
    assert_keeps_during(&[], operations);
}

/// The same for a history with faults.
pub fn assert_keeps_during(faults: &[Fault], operations: &[Operation]) {
    let findings = findings(operations, faults);
    assert!(findings.is_empty(), "{findings:?}");
}

/// Asserts that the history breaks this rule once, and no other.
pub fn assert_breaks(rule: Rule, operations: &[Operation]) {
    assert_breaks_during(&[], rule, operations);
}

/// The same for a history with faults.
pub fn assert_breaks_during(faults: &[Fault], rule: Rule, operations: &[Operation]) {
    let findings = findings(operations, faults);
    let rules: Vec<Rule> = findings.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [rule], "{findings:?}");
}
