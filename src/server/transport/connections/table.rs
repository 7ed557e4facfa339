//! Which connections there are, and which of them makes room.

use std::{collections::HashMap, net::IpAddr, sync::Arc, thread, time::Instant};

use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore};

use crate::server::policy::limits;

#[derive(Default)]
pub struct Table {
    next: u64,
    pub open: HashMap<u64, Open>,
    by_address: HashMap<IpAddr, usize>,
    networks: HashMap<IpNet, Usage>,
    pub octets: usize,
    kept: usize,
}

/// A connection that is open.
pub struct Open {
    pub address: IpAddr,
    pub network: IpNet,
    /// When it asked or read something last.
    pub last: Instant,
    pub octets: usize,
    /// Whether it makes room only where none else can.
    pub is_kept: bool,
    evicted: Arc<Notify>,
}

/// What the connections of a network have.
struct Usage {
    connections: usize,
    /// Those that are not kept.
    strangers: usize,
    octets: usize,
    turns: Arc<Semaphore>,
}

impl Usage {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            connections: 0,
            strangers: 0,
            octets: 0,
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }
}

impl Table {
    pub fn count_of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// Counts one more; gives its number, and the turns of its network.
    pub fn add(&mut self, address: IpAddr, evicted: Arc<Notify>) -> (u64, Arc<Semaphore>) {
        let network = limits::network_of(address);
        self.next += 1;
        *self.by_address.entry(address).or_default() += 1;
        let usage = self.networks.entry(network).or_insert_with(Usage::new);
        usage.connections += 1;
        usage.strangers += 1;
        let turns = usage.turns.clone();
        let open = Open {
            address,
            network,
            last: Instant::now(),
            octets: 0,
            is_kept: false,
            evicted,
        };
        self.open.insert(self.next, open);
        (self.next, turns)
    }

    /// Keeps the connection: others make room first. Where so many are kept already,
    /// the one of those that did least for longest no longer is.
    pub fn keep(&mut self, id: u64, most: usize) {
        if self.open.get(&id).is_none_or(|open| open.is_kept) {
            return;
        }
        if self.kept >= most
            && let Some(idlest) = self.idlest(|open| open.is_kept)
        {
            self.set_kept(idlest, false);
        }
        self.set_kept(id, true);
    }

    fn set_kept(&mut self, id: u64, is_kept: bool) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        if open.is_kept == is_kept {
            return;
        }
        open.is_kept = is_kept;
        let Some(usage) = self.networks.get_mut(&open.network) else {
            return;
        };
        match is_kept {
            true => {
                self.kept += 1;
                usage.strangers -= 1;
            }
            false => {
                self.kept -= 1;
                usage.strangers += 1;
            }
        }
    }

    /// Takes a connection out, with all that it has reserved.
    pub fn remove(&mut self, id: u64) {
        self.set_kept(id, false);
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        self.octets -= open.octets;
        if let Some(count) = self.by_address.get_mut(&open.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&open.address);
            }
        }
        if let Some(usage) = self.networks.get_mut(&open.network) {
            usage.connections -= 1;
            usage.strangers -= 1;
            usage.octets -= open.octets;
            if usage.connections == 0 {
                self.networks.remove(&open.network);
            }
        }
    }

    pub fn octets_of(&self, network: IpNet) -> usize {
        self.networks.get(&network).map_or(0, |usage| usage.octets)
    }

    /// The network whose connections hold most octets.
    pub fn largest_holder(&self) -> Option<IpNet> {
        let largest = self.networks.iter().max_by_key(|(_, usage)| usage.octets);
        largest.map(|(network, _)| *network)
    }

    /// Ends the connection that did least for longest, of the network that has most, or
    /// of those that have most. None that is kept.
    pub fn evict_for_place(&mut self) -> Option<()> {
        let most = self.networks.values().map(|usage| usage.strangers).max()?;
        let has_most = |open: &Open| {
            let usage = self.networks.get(&open.network);
            usage.is_some_and(|usage| usage.strangers == most)
        };
        let idlest = self.idlest(|open| !open.is_kept && has_most(open))?;
        self.end(idlest)
    }

    /// Ends a connection of the address, which has so many.
    pub fn evict_of(&mut self, address: IpAddr) -> Option<()> {
        self.evict(|open| open.address == address)
    }

    /// Ends the connection of the network that has waited longest for its client to
    /// read.
    pub fn evict_holder(&mut self, network: IpNet) -> Option<()> {
        self.evict(|open| open.network == network && open.octets > 0)
    }

    /// Ends, of the connections that are meant, the one that did least for longest.
    fn evict(&mut self, is_meant: impl Fn(&Open) -> bool) -> Option<()> {
        let stranger = self.idlest(|open| is_meant(open) && !open.is_kept);
        let idlest = stranger.or_else(|| self.idlest(is_meant))?;
        self.end(idlest)
    }

    fn idlest(&self, is_meant: impl Fn(&Open) -> bool) -> Option<u64> {
        let mut idlest: Option<(Instant, u64)> = None;
        for (id, open) in &self.open {
            let key = (open.last, *id);
            if idlest.is_none_or(|idlest| key < idlest) && is_meant(open) {
                idlest = Some(key);
            }
        }
        idlest.map(|(_, id)| id)
    }

    fn end(&mut self, id: u64) -> Option<()> {
        self.open.get(&id)?.evicted.notify_one();
        // Its octets are free at once, and its memory in a moment.
        self.remove(id);
        Some(())
    }

    pub fn grow(&mut self, id: u64, octets: usize) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.octets += octets;
        self.octets += octets;
        if let Some(usage) = self.networks.get_mut(&open.network) {
            usage.octets += octets;
        }
    }

    /// What a connection that has ended had reserved is free already.
    pub fn shrink(&mut self, id: u64, octets: usize) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.octets -= octets;
        self.octets -= octets;
        if let Some(usage) = self.networks.get_mut(&open.network) {
            usage.octets -= octets;
        }
    }
}
