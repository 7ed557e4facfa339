//! The table of open connections, which selects the one to evict.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
    thread,
    time::Instant,
};

use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore};

use crate::server::policy::limits;

#[derive(Default)]
pub struct ConnectionTable {
    next: u64,
    pub open: HashMap<u64, OpenConnection>,
    networks: HashMap<IpNet, NetworkUsage>,
    pub bytes: usize,
}

/// An open connection.
pub struct OpenConnection {
    pub address: IpAddr,
    pub network: IpNet,
    /// When the client last sent a query or read a reply.
    pub last_active: Instant,
    pub bytes: usize,
    /// Whether the connection is evicted only if no other one can be.
    is_protected: bool,
    evicted: Arc<Notify>,
}

/// The usage of the connections of a network.
struct NetworkUsage {
    connections: usize,
    /// The connections that are not protected.
    unprotected: usize,
    bytes: usize,
    turns: Arc<Semaphore>,
}

impl ConnectionTable {
    pub fn count_of(&self, address: IpAddr) -> usize {
        let open = self.open.values();
        open.filter(|open| open.address == address).count()
    }

    /// Adds a connection, and returns its number and the turns of its network.
    pub fn add(&mut self, address: IpAddr, evicted: Arc<Notify>) -> (u64, Arc<Semaphore>) {
        let network = limits::network_of(address);
        self.next += 1;
        let entry = self.networks.entry(network);
        let usage = entry.or_insert_with(|| NetworkUsage {
            connections: 0,
            unprotected: 0,
            bytes: 0,
            turns: {
                let cores = thread::available_parallelism().map_or(1, usize::from);
                Arc::new(Semaphore::new((cores / 2).max(1)))
            },
        });
        usage.connections += 1;
        usage.unprotected += 1;
        let turns = usage.turns.clone();
        let open = OpenConnection {
            address,
            network,
            last_active: Instant::now(),
            bytes: 0,
            is_protected: false,
            evicted,
        };
        self.open.insert(self.next, open);
        (self.next, turns)
    }

    pub fn is_protected(&self, id: u64) -> bool {
        self.open.get(&id).is_some_and(|open| open.is_protected)
    }

    /// Protects a connection: others are evicted first. At the limit, the protected
    /// connection that has been inactive longest loses its protection.
    pub fn protect(&mut self, id: u64, limit: usize) {
        if self.open.get(&id).is_none_or(|open| open.is_protected) {
            return;
        }
        let protected = self.open.values().filter(|open| open.is_protected);
        if protected.count() >= limit
            && let Some(idlest) = self.idlest(|open| open.is_protected)
        {
            self.set_protected(idlest, false);
        }
        self.set_protected(id, true);
    }

    fn set_protected(&mut self, id: u64, is_protected: bool) {
        if let Some(open) = self.open.get_mut(&id)
            && let Some(usage) = self.networks.get_mut(&open.network)
        {
            usage.unprotected += usize::from(open.is_protected);
            open.is_protected = is_protected;
            usage.unprotected -= usize::from(is_protected);
        }
    }

    /// Removes a connection, and releases its memory.
    pub fn remove(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        self.bytes -= open.bytes;
        if let Entry::Occupied(mut entry) = self.networks.entry(open.network) {
            let usage = entry.get_mut();
            usage.connections -= 1;
            usage.unprotected -= usize::from(!open.is_protected);
            usage.bytes -= open.bytes;
            if usage.connections == 0 {
                entry.remove();
            }
        }
    }

    pub fn bytes_of(&self, network: IpNet) -> usize {
        self.networks.get(&network).map_or(0, |usage| usage.bytes)
    }

    /// The network whose connections hold the most memory.
    pub fn largest_network(&self) -> Option<IpNet> {
        let largest = self.networks.iter().max_by_key(|(_, usage)| usage.bytes);
        largest.map(|(network, _)| *network)
    }

    /// Evicts the unprotected connection that has been inactive longest, of the
    /// networks with the most unprotected connections.
    pub fn evict_any(&mut self) -> Option<()> {
        let counts = self.networks.values().map(|usage| usage.unprotected);
        let most = counts.max()?;
        let has_most = |open: &OpenConnection| {
            let usage = self.networks.get(&open.network);
            usage.is_some_and(|usage| usage.unprotected == most)
        };
        let idlest = self.idlest(|open| !open.is_protected && has_most(open))?;
        self.end(idlest)
    }

    /// Evicts the matching connection that has been inactive longest, an unprotected
    /// one if there is any.
    pub fn evict(&mut self, matches: impl Fn(&OpenConnection) -> bool) -> Option<()> {
        let unprotected = self.idlest(|open| matches(open) && !open.is_protected);
        let idlest = unprotected.or_else(|| self.idlest(matches))?;
        self.end(idlest)
    }

    fn idlest(&self, matches: impl Fn(&OpenConnection) -> bool) -> Option<u64> {
        let mut idlest: Option<(Instant, u64)> = None;
        for (id, open) in &self.open {
            let key = (open.last_active, *id);
            if idlest.is_none_or(|idlest| key < idlest) && matches(open) {
                idlest = Some(key);
            }
        }
        idlest.map(|(_, id)| id)
    }

    fn end(&mut self, id: u64) -> Option<()> {
        self.open.get(&id)?.evicted.notify_one();
        // It no longer counts from now on; its task releases the memory in a moment.
        self.remove(id);
        Some(())
    }

    /// Changes how much memory the connection has reserved, unless it was removed and its
    /// memory with it.
    pub fn change_memory(&mut self, id: u64, change: impl Fn(&mut usize)) {
        if let Some(open) = self.open.get_mut(&id) {
            // The totals of the connection, of all connections, and of its network.
            change(&mut open.bytes);
            change(&mut self.bytes);
            if let Some(usage) = self.networks.get_mut(&open.network) {
                change(&mut usage.bytes);
            }
        }
    }
}
