//! Histories of a simulated service, for a test of the checker as a whole: it must have
//! nothing against one that keeps the law, and must notice one that does not.

use std::{collections::BTreeMap, time::Duration};

use super::{Finding, check, sample::*};
use crate::{
    common::random::Random,
    history::{Grant, History, Moment, Operation, Outcome, Request},
};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
const REPLICAS: usize = 3;
const CLIENTS: usize = 6;
const OPERATIONS: usize = 600;

/// How a replica breaks the law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// It learns of commits too late.
    Lags,
    /// It shows commits in any order.
    GoesBack,
    /// It is killed, and has the commits before the last one when it is back.
    Forgets,
}

/// What is stored as of one commit.
#[derive(Debug, Clone, Default)]
struct Commit {
    at: Moment,
    serial: u64,
    hosts: BTreeMap<&'static str, Grant>,
}

struct Service {
    random: Random,
    flaw: Flaw,
    now: Moment,
    commits: Vec<Commit>,
    /// When the holder of each host was heard.
    heard: BTreeMap<&'static str, Moment>,
    /// The commit that each replica shows.
    shown: [usize; REPLICAS],
    operations: Vec<Operation>,
}

impl Service {
    fn last(&self) -> &Commit {
        self.commits.last().unwrap()
    }

    fn commit(&mut self, change: impl FnOnce(&mut BTreeMap<&'static str, Grant>, u64)) {
        let mut next = self.last().clone();
        next.serial += 1;
        next.at = self.now;
        change(&mut next.hosts, next.serial);
        self.commits.push(next);
    }

    fn ask(&mut self) {
        self.now += Duration::from_millis(20 + self.random.below(300) as u64);
        let replica = self.random.below(REPLICAS);
        let client = 1 + self.random.below(CLIENTS) as u8;
        let host = *self.random.choose(&HOSTS);
        let (request, outcome) = match self.random.below(20) {
            0..8 => {
                let outcome = self.register(host, client);
                self.catch_up(replica, host);
                (register(host), outcome)
            }
            8 => (release(host), self.release(host)),
            kind => self.read(replica, host, kind),
        };
        // What was done may be unknown.
        let is_lost = self.random.percent(20);
        let sent = self.now.as_secs_f64() - 0.005;
        let mut operation = op(sent, sent + 0.01, client, request, outcome).at(replica);
        if is_lost {
            operation.outcome = Outcome::Failed("not written".into());
        }
        self.operations.push(operation);
    }

    fn register(&mut self, host: &'static str, client: u8) -> Outcome {
        let client = address(client);
        let known = self.last().hosts.get(host).cloned();
        let is_held = |heard: &Moment| self.now < *heard + law().lease + Duration::from_millis(10);
        let is_live = self.heard.get(host).is_some_and(is_held);
        match known {
            Some(grant) if is_live && grant.holder != client => return Outcome::Granted(grant),
            Some(grant) if grant.holder == client => {}
            known => {
                let numbers = 0..HOSTS.len();
                let ids: Vec<String> = numbers.map(|number| format!("vp{number}")).collect();
                let holders = self.last().hosts.values();
                let taken: Vec<String> = holders.map(|grant| grant.id.clone()).collect();
                let free = ids.into_iter().find(|id| !taken.contains(id));
                let id = known.map(|grant| grant.id).or(free).unwrap();
                self.commit(|hosts, epoch| {
                    let holder = client;
                    hosts.insert(host, Grant { id, epoch, holder });
                });
            }
        }
        self.heard.insert(host, self.now);
        Outcome::Granted(self.last().hosts[host].clone())
    }

    /// A replica answers a host's own name when it has the registration.
    fn catch_up(&mut self, replica: usize, host: &str) {
        let shown = &self.commits[self.shown[replica]];
        if shown.hosts.get(host) != self.last().hosts.get(host) {
            self.shown[replica] = self.commits.len() - 1;
        }
    }

    fn release(&mut self, host: &str) -> Outcome {
        self.commit(|hosts, _| drop(hosts.remove(host)));
        Outcome::Released
    }

    /// The commit that a replica shows.
    fn state(&mut self, replica: usize) -> &Commit {
        let last = self.commits.len() - 1;
        let arrived = match self.flaw {
            Flaw::Lags if replica == 0 => law().arrival * 3,
            _ => law().arrival - Duration::from_millis(100),
        };
        let due = |commit: &Commit| commit.at + arrived < self.now;
        let least = self.commits.iter().rposition(due).unwrap_or(0);
        let shown = match self.flaw {
            Flaw::Lags if replica == 0 => least,
            Flaw::GoesBack if replica == 0 => least,
            Flaw::Forgets if replica == 0 && self.random.percent(25) => last.saturating_sub(1),
            _ => least.max(self.shown[replica]),
        };
        self.shown[replica] = shown + self.random.below(last - shown + 1);
        &self.commits[self.shown[replica]]
    }

    fn read(&mut self, replica: usize, host: &'static str, kind: usize) -> (Request, Outcome) {
        let state = self.state(replica).clone();
        let grant = state.hosts.get(host);
        let number = self.random.below(HOSTS.len());
        let id = format!("vp{number}");
        let mut holders = state.hosts.values();
        let of_id = holders.find(|grant| grant.id == id);
        let address = |grant: Option<&Grant>| {
            grant.map_or(Outcome::NoName, |grant| Outcome::Address(grant.holder))
        };
        match kind {
            9..12 => (address_of_host(host), address(grant)),
            12..14 => (Request::AddressOfId(id), address(of_id)),
            14..16 => {
                let outcome = of_id.cloned().map_or(Outcome::NoName, Outcome::Granted);
                (Request::StateOfId(id), outcome)
            }
            16 => {
                let peers = state.hosts.len();
                (Request::Summary, Outcome::Summary { peers, live: peers })
            }
            _ => (Request::Serial, Outcome::Serial(state.serial as u32)),
        }
    }
}

fn findings(flaw: Flaw, seed: u64) -> Vec<Finding> {
    let mut service = Service {
        random: Random::new(seed),
        flaw,
        now: Moment::from_secs(1),
        commits: vec![Commit {
            serial: 1,
            ..Commit::default()
        }],
        heard: BTreeMap::new(),
        shown: [0; REPLICAS],
        operations: Vec::new(),
    };
    for _ in 0..OPERATIONS {
        service.ask();
    }
    let history = History {
        operations: service.operations,
        ..History::default()
    };
    let findings = check(&history, &law());
    findings.into_iter().filter(|it| it.rule.is_law()).collect()
}

#[test]
fn nothing_is_found_where_the_law_is_kept() {
    for seed in 0..100 {
        let findings = findings(Flaw::None, seed);
        assert!(findings.is_empty(), "seed {seed}: {findings:?}");
    }
}

#[test]
fn something_is_found_where_it_is_not() {
    for flaw in [Flaw::Lags, Flaw::GoesBack, Flaw::Forgets] {
        let found = (0..20).filter(|seed| !findings(flaw, *seed).is_empty());
        let found = found.count();
        assert!(found >= 18, "{flaw:?} is found in {found} of 20");
    }
}
