//! What can be broken: one fault of one node, how it begins and how it ends.

use std::time::Duration;

use crate::{
    cluster::{Cluster, Flaw, Leaders, Node, break_link, heal_link},
    common::random::Random,
    history::Cut,
};

/// The longest time for which a process is suspended.
pub const MAX_STOP: Duration = Duration::from_secs(15);

/// How a node is broken.
#[derive(Debug, Clone, PartialEq)]
pub enum Breakage {
    /// Killed, and started again at the end.
    Kill,
    /// Suspended.
    Stop,
    Link(Flaw),
    /// The file system of a member is full. It may end, and is started again.
    Disk,
    /// The wall clock of a replica is off by this many seconds.
    Clock(i64),
}

/// A fault of a round.
#[derive(Debug, Clone)]
pub struct Plan {
    pub node: Node,
    pub breakage: Breakage,
    /// When it begins, from the start of the round.
    pub begins: Duration,
    pub lasts: Duration,
}

impl Plan {
    /// A fault of this node, at random.
    pub fn any(random: &mut Random, node: Node) -> Self {
        let others: Vec<Node> = Node::ALL.into_iter().filter(|it| *it != node).collect();
        let breakage = match random.below(12) {
            0..2 => Breakage::Kill,
            2..5 => Breakage::Stop,
            5 => Breakage::Link(Flaw::Down),
            6 => Breakage::Link(match random.percent(50) {
                true => Flaw::Mute,
                false => Flaw::Deaf,
            }),
            // From all nodes, while clients reach it.
            7 => Breakage::Link(Flaw::Closed(others.iter().map(|it| it.address()).collect())),
            8 => Breakage::Link(Flaw::Closed(vec![random.choose(&others).address()])),
            9 => Breakage::Link(Flaw::Lossy(10 + random.below(41) as u32)),
            10 => Breakage::Link(Flaw::Slow(32 + random.below(97) as u32)),
            _ => match node {
                Node::Member(_) => Breakage::Disk,
                Node::Replica(_) => {
                    let minutes = *random.choose(&[-1_440, -90, -10, -1, 1, 10, 90, 1_440]);
                    Breakage::Clock(60 * minutes)
                }
            },
        };
        let lasts = match (&breakage, random.below(3)) {
            (Breakage::Kill, _) => 200 + random.below(6_000),
            (_, 0) => 500 + random.below(2_000),
            (_, 1) => 2_500 + random.below(4_000),
            _ => 6_500 + random.below(8_500),
        };
        Self {
            node,
            breakage,
            begins: Duration::from_millis(random.below(1_500) as u64),
            lasts: Duration::from_millis(lasts as u64).min(MAX_STOP),
        }
    }

    /// What stands still meanwhile, or does not reach the others. A clock that is wrong
    /// must have no effect.
    pub fn cut(&self) -> Option<Cut> {
        match (&self.breakage, self.node) {
            (Breakage::Clock(_), _) => None,
            (_, Node::Member(place)) => Some(Cut::Member(place)),
            (_, Node::Replica(place)) => Some(Cut::Replica(place)),
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.breakage {
            Breakage::Kill => "kill",
            Breakage::Stop => "suspension",
            Breakage::Disk => "full disk",
            Breakage::Clock(_) => "clock step",
            Breakage::Link(flaw) => match flaw {
                Flaw::Down => "link down",
                Flaw::Mute | Flaw::Deaf => "one-way cut",
                Flaw::Closed(addresses) if addresses.len() == 1 => "cut between two",
                Flaw::Closed(_) => "cut from all nodes",
                Flaw::Lossy(_) => "lossy link",
                Flaw::Slow(_) => "slow link",
            },
        }
    }

    pub fn text(&self, leaders: Leaders) -> String {
        let role = match self.node {
            Node::Member(place) if leaders.etcd == Some(place) => " (leader of etcd)",
            Node::Replica(place) if leaders.writer == Some(place) => " (writer)",
            _ => "",
        };
        let node = self.node;
        let what = match &self.breakage {
            Breakage::Kill => "is killed and down".to_owned(),
            Breakage::Stop => "is suspended".to_owned(),
            Breakage::Disk => "has a full disk".to_owned(),
            Breakage::Clock(seconds) => format!("has a wall clock that is off by {seconds} s"),
            Breakage::Link(flaw) => match flaw {
                Flaw::Down => "has no link".to_owned(),
                Flaw::Mute => "sends nothing".to_owned(),
                Flaw::Deaf => "receives nothing".to_owned(),
                Flaw::Closed(addresses) => {
                    let names = addresses.iter().filter_map(|address| {
                        Node::ALL.into_iter().find(|it| it.address() == *address)
                    });
                    let names: Vec<String> = names.map(|it| it.to_string()).collect();
                    format!("is cut from {}", names.join(", "))
                }
                Flaw::Lossy(percent) => format!("loses {percent} % of its packets"),
                Flaw::Slow(kbit) => format!("has a link of {kbit} kbit/s"),
            },
        };
        format!("{node}{role} {what}")
    }

    pub fn begin(&self, cluster: &mut Cluster) {
        match &self.breakage {
            Breakage::Kill => cluster.process(self.node).hold_down(),
            Breakage::Stop => cluster.process(self.node).signal("STOP"),
            Breakage::Link(flaw) => break_link(&cluster.network, self.node.host(), flaw),
            Breakage::Disk => {
                if let Node::Member(place) = self.node {
                    cluster.disk(place).fill();
                }
            }
            Breakage::Clock(seconds) => {
                if let Node::Replica(place) = self.node {
                    cluster.clock(place).set(*seconds);
                }
            }
        }
    }

    pub fn end(&self, cluster: &mut Cluster) {
        match &self.breakage {
            Breakage::Kill => cluster.process(self.node).start(),
            Breakage::Stop => cluster.process(self.node).signal("CONT"),
            Breakage::Link(_) => heal_link(&cluster.network, self.node.host()),
            Breakage::Disk => {
                if let Node::Member(place) = self.node {
                    cluster.disk(place).clear();
                }
            }
            Breakage::Clock(_) => {
                if let Node::Replica(place) = self.node {
                    cluster.clock(place).set(0);
                }
            }
        }
    }
}
