//! Rounds: faults at random, after which everything is healed and new hosts register.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Cluster, Leaders, MEMBERS, Node, REPLICAS},
    common::random::Random,
    faults::{Breakage, Plan},
    history::{Extent, Fault, Moment, Round, seconds},
    recorder::Recorder,
};

/// How often faults and processes are looked after.
const TICK: Duration = Duration::from_millis(20);

/// How long a round waits for a new host when everything is healed.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a writer may be suspended until another one is elected.
const ELECTION: Duration = Duration::from_secs(15);

pub struct Rounds<'r> {
    pub cluster: &'r mut Cluster,
    pub recorder: &'r Recorder,
    pub random: Random,
}

impl Rounds<'_> {
    /// Breaks things until the time is over. Returns early if new hosts no longer
    /// register, since nothing more can be seen then.
    pub fn play(&mut self, until: Moment) {
        while self.recorder.now() < until {
            let leaders = self.cluster.leaders();
            let (extent, plans) = plan(&mut self.random, leaders);
            let begins = self.recorder.now();
            self.carry_out(&plans, leaders);
            if !self.recover(extent, begins) {
                return;
            }
            let calm = 500 + self.random.below(2_500) as u64;
            self.look_after(Duration::from_millis(calm));
        }
    }

    /// Suspends the writer until there is another one, and then uses both: what a law
    /// that is broken does not survive.
    pub fn depose(&mut self, until: Moment) {
        while self.recorder.now() < until {
            let leaders = self.cluster.leaders();
            let Some(writer) = leaders.writer else {
                self.look_after(TICK);
                continue;
            };
            let begins = self.recorder.now();
            let stop = Plan {
                node: Node::Replica(writer),
                breakage: Breakage::Stop,
                begins: Duration::ZERO,
                lasts: ELECTION,
            };
            stop.begin(self.cluster);
            let ends = begins + ELECTION;
            while self.recorder.now() < ends {
                let now = self.cluster.leaders().writer;
                if now.is_some_and(|now| now != writer) {
                    break;
                }
                self.look_after(Duration::from_millis(200));
            }
            // The new writer registers hosts meanwhile.
            let while_both = self.random.below(1_000) as u64;
            self.look_after(Duration::from_millis(while_both));
            stop.end(self.cluster);
            self.note(&stop, begins, leaders);
            if !self.recover(Extent::Minority, begins) {
                return;
            }
            self.look_after(Duration::from_secs(1));
        }
    }

    /// Begins and ends the faults. A node has one at a time.
    fn carry_out(&mut self, plans: &[Plan], leaders: Leaders) {
        let start = Instant::now();
        let mut waiting: Vec<&Plan> = plans.iter().collect();
        let mut active: Vec<(&Plan, Moment, Instant)> = Vec::new();
        while !waiting.is_empty() || !active.is_empty() {
            let due = waiting.iter().position(|plan| {
                let is_free = active.iter().all(|(other, ..)| other.node != plan.node);
                is_free && start.elapsed() >= plan.begins
            });
            if let Some(due) = due {
                let plan = waiting.remove(due);
                let begins = self.recorder.now();
                plan.begin(self.cluster);
                active.push((plan, begins, Instant::now() + plan.lasts));
            }
            let over = active.iter().position(|(.., ends)| Instant::now() >= *ends);
            if let Some(over) = over {
                let (plan, begins, _) = active.remove(over);
                plan.end(self.cluster);
                self.note(plan, begins, leaders);
            }
            self.look_after(TICK);
        }
    }

    fn note(&self, plan: &Plan, begins: Moment, leaders: Leaders) {
        self.recorder.fault(Fault {
            kind: plan.kind(),
            text: plan.text(leaders),
            cut: plan.cut(),
            begins,
            ends: self.recorder.now(),
        });
    }

    /// Waits, with everything healed, until a new host has registered. Returns whether
    /// one has.
    fn recover(&mut self, extent: Extent, begins: Moment) -> bool {
        let healed = self.recorder.now();
        while !self.recorder.has_new_since(healed) && self.recorder.now() < healed + PATIENCE {
            self.look_after(TICK);
        }
        let recovered = self.recorder.has_new_since(healed);
        self.recorder.round(Round {
            extent,
            begins,
            healed,
            recovered: recovered.then(|| self.recorder.now()),
        });
        recovered
    }

    /// Supervises the processes for a while.
    pub fn look_after(&mut self, time: Duration) {
        let ends = Instant::now() + time;
        loop {
            for ended in self.cluster.supervise() {
                println!("{:>9}  {ended}", seconds(self.recorder.now()));
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(TICK));
        }
    }
}

/// The faults of a round. Half of the time the target is the one that leads.
fn plan(random: &mut Random, leaders: Leaders) -> (Extent, Vec<Plan>) {
    if random.percent(35) {
        let count = 2 + random.below(4);
        let plans = (0..count).map(|_| {
            let node = match random.percent(50) {
                true => member(random, leaders),
                false => replica(random, leaders),
            };
            Plan::any(random, node)
        });
        return (Extent::Anything, plans.collect());
    }
    let nodes = match random.below(3) {
        0 => vec![member(random, leaders)],
        1 => vec![replica(random, leaders)],
        _ => vec![member(random, leaders), replica(random, leaders)],
    };
    let plans = nodes.into_iter().map(|node| Plan::any(random, node));
    (Extent::Minority, plans.collect())
}

fn member(random: &mut Random, leaders: Leaders) -> Node {
    let leader = leaders.etcd.filter(|_| random.percent(50));
    Node::Member(leader.unwrap_or_else(|| random.below(MEMBERS)))
}

fn replica(random: &mut Random, leaders: Leaders) -> Node {
    let writer = leaders.writer.filter(|_| random.percent(50));
    Node::Replica(writer.unwrap_or_else(|| random.below(REPLICAS)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const LEADERS: Leaders = Leaders {
        etcd: Some(1),
        writer: Some(2),
    };

    #[test]
    fn a_minority_is_one_member_and_one_replica() {
        let mut random = Random::new(1);
        let mut extents = [0; 2];
        for _ in 0..1_000 {
            let (extent, plans) = plan(&mut random, LEADERS);
            let count = |is_member: bool| {
                let nodes = plans.iter().map(|plan| plan.node);
                nodes
                    .filter(|it| matches!(it, Node::Member(_)) == is_member)
                    .count()
            };
            extents[usize::from(extent == Extent::Anything)] += 1;
            if extent == Extent::Minority {
                assert!(count(true) <= 1 && count(false) <= 1, "{plans:?}");
            }
        }
        assert!(extents[0] > extents[1] && extents[1] > 200, "{extents:?}");
    }

    #[test]
    fn everything_is_broken_at_some_time_and_the_leaders_most() {
        let mut random = Random::new(1);
        let mut kinds = BTreeSet::new();
        let mut texts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..1_000 {
            for plan in plan(&mut random, LEADERS).1 {
                kinds.insert(plan.kind());
                *texts.entry(plan.node.to_string()).or_default() += 1;
            }
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
        for (leader, other) in [("member 1", "member 0"), ("replica 2", "replica 1")] {
            assert!(texts[leader] > 3 * texts[other], "{texts:?}");
        }
    }
}
