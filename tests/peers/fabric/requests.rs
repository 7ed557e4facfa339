//! What becomes of the requests of a peer that does not validate: it sends one a
//! second, each to any peer that it has ever met.

use std::collections::{BTreeMap, BTreeSet};

use super::{Deadline, Peer, address};

/// A log line about a request: `nvp0 asked NAME:PORT (ADDRESS): OUTCOME`.
struct Request<'a> {
    line: &'a str,
    id: &'a str,
    /// Where the name led; nowhere if it was not resolved.
    address: Option<&'a str>,
    answered: bool,
}

impl<'a> Request<'a> {
    fn read(line: &'a str) -> Self {
        let (_, request) = line.split_once(" asked ").unwrap();
        let (name, request) = request.split_once(" (").unwrap_or_else(|| panic!("{line}"));
        let (address, outcome) = request.split_once("): ").unwrap();
        let (id, _) = name.split_once('.').unwrap();
        Self {
            line,
            id,
            address: Some(address).filter(|&address| address != "unresolved"),
            answered: outcome.starts_with(&format!("answered by {id} of ")),
        }
    }
}

/// From now on every request of the peer is answered by one of these hosts, and
/// each of them gets some.
pub fn answered_only_at(peer: &Peer, hosts: &[usize], deadline: Deadline) {
    let hosts: BTreeSet<String> = hosts.iter().map(|&host| address(host)).collect();
    let before = peer.requests().len();
    let mut met = BTreeSet::new();
    // The first request may have been under way.
    while met != hosts || peer.requests().len() < before + 6 {
        for line in peer.requests().iter().skip(before + 1) {
            let request = Request::read(line);
            let host = request.address.filter(|&host| hosts.contains(host));
            let host = host.unwrap_or_else(|| panic!("{line}: goes to none of {hosts:?}"));
            assert!(request.answered, "{line}");
            met.insert(host.to_owned());
        }
        deadline.allow("each host answers requests", || {
            format!("only {met:?}: {}", peer.log())
        });
    }
}

/// Judges each request by where the service leads at that time.
pub struct Judge {
    /// The address of each ID; none if its peer has left.
    at: BTreeMap<String, Option<String>>,
    /// How many requests have been judged.
    judged: usize,
    /// The request that was under way when a peer ended, which takes some seconds, and
    /// the address of that peer.
    under_way: Option<(usize, String)>,
}

impl Judge {
    /// The peers run, and the requests from now on are judged.
    pub fn new(asks: &Peer, peers: &[Peer]) -> Self {
        let at = |peer: &Peer| (peer.id(), Some(address(peer.host)));
        Self {
            at: peers.iter().map(at).collect(),
            judged: asks.requests().len(),
            under_way: None,
        }
    }

    /// The peer of an ID has just ended. While it did so, a request to it may have
    /// failed.
    pub fn gone(&mut self, asks: &Peer, id: &str) {
        self.judge(asks, |judge, request| {
            request.id == id && [None, judge.at(id)].contains(&request.address)
        });
        let left = self.at.insert(id.to_owned(), None).flatten();
        self.under_way = left.map(|address| (self.judged, address));
    }

    /// The peer of an ID is back, at another host, and all have met.
    pub fn back(&mut self, asks: &Peer, id: &str, host: usize) {
        let host = address(host);
        self.judge(asks, |judge, request| {
            let under_way = judge.under_way.as_ref();
            let left = under_way.filter(|(number, _)| *number == judge.judged);
            let left = left.map(|(_, address)| &**address);
            request.id == id && [None, Some(&*host), left].contains(&request.address)
        });
        self.at.insert(id.to_owned(), Some(host));
    }

    /// No peer has ended, so every request was answered.
    pub fn all(&mut self, asks: &Peer) {
        self.judge(asks, |_, _| false);
    }

    /// The same for the requests of a process that is new.
    pub fn restarted(&mut self, asks: &Peer) {
        self.judged = 0;
        self.all(asks);
    }

    /// Every further request was answered at the address of its ID, or is excused.
    fn judge(&mut self, asks: &Peer, excuses: impl Fn(&Self, &Request<'_>) -> bool) {
        for line in asks.requests().iter().skip(self.judged) {
            let request = Request::read(line);
            let right = request.answered && request.address == self.at(request.id);
            assert!(
                right || excuses(self, &request),
                "{}: {:?}",
                request.line,
                self.at
            );
            self.judged += 1;
        }
    }

    fn at(&self, id: &str) -> Option<&str> {
        self.at.get(id)?.as_deref()
    }
}
