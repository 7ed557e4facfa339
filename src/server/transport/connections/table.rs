//! The table of open connections, which selects the one to evict.

use std::{collections::HashMap, net::IpAddr, sync::Arc, thread, time::Instant};

use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore};

use crate::server::policy::limits;

#[derive(Default)]
pub struct ConnectionTable {
    next: u64,
    pub open: HashMap<u64, OpenConnection>,
    by_address: HashMap<IpAddr, usize>,
    networks: HashMap<IpNet, NetworkUsage>,
    pub bytes: usize,
    protected: usize,
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

impl NetworkUsage {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            connections: 0,
            unprotected: 0,
            bytes: 0,
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }
}

impl ConnectionTable {
    pub fn count_of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// Adds a connection, and returns its number and the turns of its network.
    pub fn add(&mut self, address: IpAddr, evicted: Arc<Notify>) -> (u64, Arc<Semaphore>) {
        let network = limits::network_of(address);
        self.next += 1;
        *self.by_address.entry(address).or_default() += 1;
        let entry = self.networks.entry(network);
        let usage = entry.or_insert_with(NetworkUsage::new);
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
        if self.protected >= limit
            && let Some(idlest) = self.idlest(|open| open.is_protected)
        {
            self.set_protected(idlest, false);
        }
        self.set_protected(id, true);
    }

    fn set_protected(&mut self, id: u64, is_protected: bool) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        if open.is_protected == is_protected {
            return;
        }
        open.is_protected = is_protected;
        let Some(usage) = self.networks.get_mut(&open.network) else {
            return;
        };
        if is_protected {
            self.protected += 1;
            usage.unprotected -= 1;
        } else {
            self.protected -= 1;
            usage.unprotected += 1;
        }
    }

    /// Removes a connection, and releases its memory.
    pub fn remove(&mut self, id: u64) {
        self.set_protected(id, false);
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        self.bytes -= open.bytes;
        if let Some(count) = self.by_address.get_mut(&open.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&open.address);
            }
        }
        if let Some(usage) = self.networks.get_mut(&open.network) {
            usage.connections -= 1;
            usage.unprotected -= 1;
            usage.bytes -= open.bytes;
            if usage.connections == 0 {
                self.networks.remove(&open.network);
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

    /// Evicts a connection from the address, which is at its limit.
    pub fn evict_from_address(&mut self, address: IpAddr) -> Option<()> {
        self.evict(|open| open.address == address)
    }

    /// Evicts the connection of the network that has waited longest for its client to
    /// read.
    pub fn evict_from_network(&mut self, network: IpNet) -> Option<()> {
        self.evict(|open| open.network == network && open.bytes > 0)
    }

    /// Evicts the matching connection that has been inactive longest, an unprotected
    /// one if there is any.
    fn evict(&mut self, matches: impl Fn(&OpenConnection) -> bool) -> Option<()> {
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

    pub fn grow(&mut self, id: u64, bytes: usize) {
        self.change_memory(id, |total| *total += bytes);
    }

    /// Releases memory, unless the connection was removed and its memory with it.
    pub fn shrink(&mut self, id: u64, bytes: usize) {
        self.change_memory(id, |total| *total -= bytes);
    }

    /// Changes the totals of the connection, of its network, and of all connections.
    fn change_memory(&mut self, id: u64, change: impl Fn(&mut usize)) {
        if let Some(open) = self.open.get_mut(&id) {
            change(&mut open.bytes);
            change(&mut self.bytes);
            if let Some(usage) = self.networks.get_mut(&open.network) {
                change(&mut usage.bytes);
            }
        }
    }
}
