//! A simulation of three replicas, their clients and a store, in which each replica may be
//! cut off from all others at any time.

use std::{collections::BTreeMap, time::Duration};

use param_daemon::{
    network::{Change, Network, PeerId, Replicated, Time},
    registry::{Coverage, DRIFT, Reporter, Vouching},
};

use super::{HOLD, LEASE, TERM, client, hostname, rules, stored};

/// A small generator: a simulation of a minute takes many numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn is(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

struct Node {
    network: Network,
    vouching: Vouching,
    /// Thousandths of the true speed of time.
    speed: u64,
    is_cut_off: bool,
    /// How many commits it has received.
    received: usize,
    /// When its last report was begun that was acknowledged.
    reported: Time,
}

struct Writer {
    node: usize,
    coverage: Coverage,
    /// By true time: the last sign of life to etcd.
    seen: u64,
}

/// The holder of a host, as its clients know it.
#[derive(Debug, Default)]
struct Belief {
    /// By client, in true time: until when the lease runs at least.
    runs_until: BTreeMap<u8, u64>,
    epoch: u64,
}

pub struct Cluster {
    random: Random,
    nodes: Vec<Node>,
    writer: Option<Writer>,
    commits: Vec<(Vec<Replicated>, u64)>,
    beliefs: BTreeMap<u8, Belief>,
    now: u64,
}

impl Cluster {
    pub fn new(seed: u64, speeds: [u64; 3]) -> Self {
        let node = |speed| Node {
            network: Network::new(rules(), 1),
            vouching: Vouching::not_yet(),
            speed,
            is_cut_off: false,
            received: 0,
            reported: Time(0),
        };
        Self {
            random: Random(seed | 1),
            nodes: speeds.map(node).into(),
            writer: None,
            commits: Vec::new(),
            beliefs: BTreeMap::new(),
            now: 1_000,
        }
    }

    pub fn run(mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.now += 1 + self.random.below(60);
            let node = self.random.below(3) as usize;
            if self.random.is(120) {
                self.nodes[node].is_cut_off ^= true;
            }
            self.elect();
            self.tend();
            match self.random.below(10) {
                0..=2 => self.receive(node),
                3..=4 => self.report(node),
                _ => self.ask(node),
            }
        }
    }

    /// The time by the clock of a node.
    fn clock(&self, node: usize) -> Time {
        Time(self.now * self.nodes[node].speed / 1_000)
    }

    /// The writer extends its lease; or another node is elected when it has ended.
    fn elect(&mut self) {
        let now = self.now;
        if let Some(writer) = &mut self.writer {
            let node = writer.node;
            if !self.nodes[node].is_cut_off && self.random.is(5) {
                writer.seen = now;
                let until = self.clock(node) + HOLD;
                self.nodes[node].vouching.extend(until);
            }
            if self.writer.as_ref().is_some_and(|it| now < it.seen + TERM) {
                return;
            }
        }
        let node = self.random.below(3) as usize;
        if self.nodes[node].is_cut_off {
            return;
        }
        while self.nodes[node].received < self.commits.len() {
            self.receive(node);
        }
        let at = self.clock(node);
        self.nodes[node].network.lead(at);
        self.nodes[node].vouching.extend(at + HOLD);
        let revision = self.nodes[node].network.revision();
        self.commits.push((Vec::new(), revision));
        self.nodes[node].received = self.commits.len();
        self.writer = Some(Writer {
            node,
            coverage: Coverage::new(HOLD, at),
            seen: now,
        });
    }

    /// Whether the writer itself knows that it is the writer.
    fn is_held(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| {
            let speed = self.nodes[writer.node].speed;
            let passed = (self.now - writer.seen) * speed / 1_000;
            passed < TERM - TERM / 100
        })
    }

    /// Sets what the writer knows of all heartbeats, and ends leases.
    fn tend(&mut self) {
        let Some(writer) = &self.writer else {
            return;
        };
        let (node, at) = (writer.node, self.clock(writer.node));
        let heard = writer.coverage.heard(at);
        let network = &mut self.nodes[node].network;
        network.resume(heard.since);
        network.set_heard_until(heard.until.minus(LEASE / DRIFT));
        self.decide(|network| network.expire(at, usize::MAX));
    }

    /// Lets the writer change its network, and stores what has changed; nothing is stored
    /// by a writer that is cut off.
    fn decide(&mut self, change: impl FnOnce(&mut Network)) -> bool {
        self.commit(|network, _| change(network))
    }

    fn commit(&mut self, change: impl FnOnce(&mut Network, &mut Vec<Change>)) -> bool {
        let Some(writer) = &self.writer else {
            return false;
        };
        let node = writer.node;
        if self.nodes[node].is_cut_off || self.nodes[node].received < self.commits.len() {
            return false;
        }
        let before = self.nodes[node].network.clone();
        let mut after = before.clone();
        let mut changes = Vec::new();
        change(&mut after, &mut changes);
        if after.revision() != before.revision() || !changes.is_empty() {
            let stored = stored(&before, &after, &changes);
            self.commits.push((stored, after.revision()));
            self.nodes[node].received = self.commits.len();
        }
        self.nodes[node].network = after;
        true
    }

    fn receive(&mut self, node: usize) {
        let at = self.clock(node);
        let it = &mut self.nodes[node];
        if it.is_cut_off {
            return;
        }
        if let Some((changes, revision)) = self.commits.get(it.received) {
            let conflicts = it.network.replicate(changes.clone(), *revision, at);
            assert_eq!(conflicts, vec![]);
            it.received += 1;
        }
    }

    /// A report of a node to the writer, and its acknowledgement.
    fn report(&mut self, node: usize) {
        let at = self.clock(node);
        if !self.is_held() {
            return;
        }
        let Some(writer) = &self.writer else {
            return;
        };
        let w = writer.node;
        if w == node || self.nodes[node].is_cut_off || self.nodes[w].is_cut_off {
            return;
        }
        let writer_at = self.clock(w);
        let heard = self.nodes[node]
            .network
            .heard_here(self.nodes[node].reported);
        for id in heard {
            self.nodes[w].network.renew_reported(id, writer_at);
        }
        let identity = format!("{node}");
        let reporter = Reporter {
            identity: &identity,
            name: "",
            run: 1,
            connection: 1,
            commit: 0,
        };
        let before = writer.coverage.report(&reporter, writer_at).unwrap();
        let since = before.unwrap_or_default();
        let heard = self.nodes[w].network.heard_anywhere(since);
        let heard: Vec<(PeerId, Time)> = heard.collect();
        // A list of whom others have heard speaks of the holders as of the writer's last
        // commit.
        let is_current = self.nodes[node].received == self.commits.len();
        for (id, when) in heard.into_iter().filter(|_| is_current) {
            let age = Duration::from_millis(writer_at.0 - when.0);
            self.nodes[node]
                .network
                .hear(id, at.minus(age + age / DRIFT));
        }
        self.nodes[node].vouching.extend(at + HOLD);
        self.nodes[node].reported = at;
    }

    /// A client asks for a host's parameters.
    fn ask(&mut self, node: usize) {
        let (host, by) = (self.random.below(4) as u8, self.random.below(3) as u8);
        let (name, client) = (hostname(host), client(by));
        let at = self.clock(node);
        let it = &self.nodes[node];
        if let Some(peer) = it.network.host(&name)
            && it.vouching.is_valid(at)
        {
            let is_holder = peer.holder == client;
            if is_holder && peer.lease.renew(at, LEASE) {
                let epoch = peer.epoch;
                self.is_told(host, by, epoch);
                return;
            }
            if !is_holder && peer.lease.is_running(at, LEASE) {
                return;
            }
        }
        let is_reachable = |it: &Writer| {
            it.node == node || !self.nodes[node].is_cut_off && !self.nodes[it.node].is_cut_off
        };
        let Some(writer) = self.writer.as_ref().filter(|it| is_reachable(it)) else {
            return;
        };
        let (w, writer_at) = (writer.node, self.clock(writer.node));
        let mut granted = None;
        let is_stored = self.commit(|network, changes| {
            granted = network
                .register(writer_at, &name, None, client, changes)
                .ok();
        });
        if !is_stored {
            return;
        }
        let granted = granted.filter(|peer| peer.holder == client);
        if let Some(peer) = granted {
            if w != node {
                while self.nodes[node].received < self.commits.len() {
                    self.receive(node);
                }
                self.nodes[node].network.hear(peer.id, at);
            }
            self.is_told(host, by, peer.epoch);
        }
    }

    /// A client is told that it holds the lease.
    fn is_told(&mut self, host: u8, by: u8, epoch: u64) {
        let now = self.now;
        let belief = self.beliefs.entry(host).or_default();
        for (other, runs_until) in &belief.runs_until {
            assert!(
                *other == by || *runs_until <= now,
                "host {host} at {now}: client {other} has a lease until {runs_until}, and {by} takes it"
            );
        }
        assert!(
            epoch >= belief.epoch,
            "host {host}: {epoch} after {}",
            belief.epoch
        );
        belief.epoch = epoch;
        // The least that any clock here would give it.
        let lease = LEASE.as_millis() as u64;
        belief.runs_until.insert(by, now + lease - lease / 100);
    }
}
