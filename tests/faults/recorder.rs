//! Takes down what happens while it happens.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use crate::history::{Fault, Grant, History, Host, Moment, Operation, Outcome, Request, Round};

/// The history of a run that is going on, shared by all clients.
pub struct Recorder {
    start: Instant,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    history: History,
    registered: BTreeSet<Host>,
    /// The same in the order of their registration.
    order: Vec<Host>,
    /// When the query was sent with which a host registered last that was new.
    last_new: Option<Moment>,
}

impl Recorder {
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            kept: Mutex::default(),
        }
    }

    /// The moment of the clock of the run.
    pub fn at(&self, instant: Instant) -> Moment {
        instant.saturating_duration_since(self.start)
    }

    pub fn now(&self) -> Moment {
        self.start.elapsed()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    pub fn operation(&self, operation: Operation) {
        let mut kept = self.kept();
        if let (Request::Register(host), Outcome::Granted(Grant { holder, .. })) =
            (&operation.request, &operation.outcome)
            && *holder == operation.client
            && kept.registered.insert(host.clone())
        {
            kept.order.push(host.clone());
            kept.last_new = kept.last_new.max(Some(operation.sent));
        }
        kept.history.operations.push(operation);
    }

    pub fn fault(&self, fault: Fault) {
        self.kept().history.faults.push(fault);
    }

    pub fn round(&self, round: Round) {
        self.kept().history.rounds.push(round);
    }

    pub fn defect(&self, line: String) {
        self.kept().history.defects.push(line);
    }

    /// The hosts that were told that they are registered, oldest first.
    pub fn registered(&self) -> Vec<Host> {
        self.kept().order.clone()
    }

    /// The number of those hosts, and one of them.
    pub fn any_registered(&self, choose: impl FnOnce(usize) -> usize) -> Option<Host> {
        let kept = self.kept();
        match kept.order.len() {
            0 => None,
            count => Some(kept.order[choose(count)].clone()),
        }
    }

    /// Whether a new host asked after this moment, and is registered.
    pub fn has_new_since(&self, moment: Moment) -> bool {
        self.kept().last_new.is_some_and(|last| last > moment)
    }

    /// All that happened.
    pub fn finish(&self) -> History {
        let mut history = std::mem::take(&mut self.kept().history);
        history.operations.sort_by_key(|operation| operation.sent);
        history.faults.sort_by_key(|fault| fault.begins);
        history
    }
}
