//! The connections that are open, by TCP or TLS, and the memory that they may
//! take.
//!
//! Nobody is turned away. When all places are taken, or all memory for what
//! clients have not read, the connection that did least for longest makes room:
//! one of the network that has most. So a client that asks and reads is served,
//! whatever others keep open.
//!
//! A connection reserves the octets of a query before it is read, and those of the
//! largest reply before it is made. What is over is given back when the reply is
//! there, and the rest when the client has taken it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::Notify;

use crate::server::policy::{limits, source::Source};

/// How long a connection may be idle, or a message take to come or to go.
pub const IDLE: Duration = Duration::from_secs(10);

/// The same when most connections are taken (RFC 7766, section 6.2.3).
const IDLE_WHEN_BUSY: Duration = Duration::from_millis(500);

/// What may be open and unsent at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub connections: usize,
    /// Of those, how many may come from one address. Many peers may share one,
    /// behind a node's masquerading, but `dig` keeps none open.
    pub of_address: usize,
    /// Octets that clients have sent and not been answered, or have not read: of
    /// one connection, of one network, and of all together.
    pub octets_of_connection: usize,
    pub octets_of_network: usize,
    pub octets: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1_024,
            of_address: 256,
            octets_of_connection: 2 * LARGEST_REPLY,
            octets_of_network: 8 << 20,
            octets: 24 << 20,
        }
    }
}

/// What is reserved for a reply before it is made: a message, and its length.
pub const LARGEST_REPLY: usize = 2 + 65_535;

/// All connections.
pub struct Connections {
    table: Arc<Mutex<Table>>,
    bounds: Bounds,
    /// PeerRecord when one has ended.
    ended: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    by_address: HashMap<IpAddr, usize>,
    networks: HashMap<IpNet, Usage>,
    octets: usize,
}

/// A connection that is open.
struct Open {
    address: IpAddr,
    network: IpNet,
    /// When it asked or read something last.
    last: Instant,
    octets: usize,
    evicted: Arc<Notify>,
}

/// What the connections of a network have.
#[derive(Default, Clone, Copy)]
struct Usage {
    connections: usize,
    octets: usize,
}

/// A connection that is counted until this is dropped.
pub struct Connection {
    id: u64,
    table: Arc<Mutex<Table>>,
    bounds: Bounds,
    evicted: Arc<Notify>,
    /// PeerRecord when the client has taken something.
    relieved: Arc<Notify>,
    ended: Arc<Notify>,
}

/// Octets that are reserved until this is dropped.
pub struct Reserved {
    id: u64,
    octets: usize,
    table: Arc<Mutex<Table>>,
    relieved: Arc<Notify>,
}

impl Connections {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            table: Arc::default(),
            bounds,
            ended: Arc::default(),
        }
    }

    /// Waits until all have ended.
    pub async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if lock(&self.table).open.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// How long a connection may be idle now.
    pub fn idle(&self) -> Duration {
        match lock(&self.table).open.len() > self.bounds.connections / 4 * 3 {
            true => IDLE_WHEN_BUSY,
            false => IDLE,
        }
    }

    /// Counts a connection. Where there is no place, another one makes room.
    pub fn admit(&self, source: Source) -> Connection {
        let address = source.ip;
        let mut table = lock(&self.table);
        if table.by_address.get(&address).copied() >= Some(self.bounds.of_address) {
            table.evict(|open| open.address == address);
        }
        while table.open.len() >= self.bounds.connections {
            let Some(network) = table.largest(|usage| usage.connections) else {
                break;
            };
            table.evict(|open| open.network == network);
        }
        let evicted = Arc::new(Notify::new());
        let id = table.add(address, evicted.clone());
        Connection {
            id,
            table: self.table.clone(),
            bounds: self.bounds,
            evicted,
            relieved: Arc::default(),
            ended: self.ended.clone(),
        }
    }
}

impl Connection {
    /// Waits until another connection needs the place of this one.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits until the client has read so much that there is room for one more
    /// reply.
    pub async fn has_room(&self) {
        loop {
            let relieved = self.relieved.notified();
            let octets = lock(&self.table)
                .open
                .get(&self.id)
                .map_or(0, |it| it.octets);
            if octets + LARGEST_REPLY <= self.bounds.octets_of_connection {
                return;
            }
            relieved.await;
        }
    }

    /// Reserves octets. Where others have taken too much, one of them ends; `None`
    /// where it is this one's turn to end.
    pub fn reserve(&self, octets: usize) -> Option<Reserved> {
        let mut table = lock(&self.table);
        let network = table.open.get(&self.id)?.network;
        while table.usage(network).octets + octets > self.bounds.octets_of_network {
            table.evict_holder(network)?;
        }
        while table.octets + octets > self.bounds.octets {
            let largest = table.largest(|usage| usage.octets)?;
            table.evict_holder(largest)?;
        }
        // It may have been its own turn.
        table.open.get_mut(&self.id)?.last = Instant::now();
        table.grow(self.id, octets);
        Some(Reserved {
            id: self.id,
            octets,
            table: self.table.clone(),
            relieved: self.relieved.clone(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.table).remove(self.id);
        self.ended.notify_waiters();
    }
}

impl Reserved {
    /// Gives back what is more than that.
    pub fn shrink(&mut self, octets: usize) {
        let over = self.octets.saturating_sub(octets);
        self.octets -= over;
        lock(&self.table).shrink(self.id, over);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.shrink(self.id, self.octets);
        if let Some(open) = table.open.get_mut(&self.id) {
            open.last = Instant::now();
        }
        drop(table);
        self.relieved.notify_one();
    }
}

impl Table {
    fn add(&mut self, address: IpAddr, evicted: Arc<Notify>) -> u64 {
        let network = limits::network_of(address);
        self.next += 1;
        *self.by_address.entry(address).or_default() += 1;
        self.networks.entry(network).or_default().connections += 1;
        let open = Open {
            address,
            network,
            last: Instant::now(),
            octets: 0,
            evicted,
        };
        self.open.insert(self.next, open);
        self.next
    }

    /// Takes a connection out, with all that it has reserved.
    fn remove(&mut self, id: u64) {
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
            usage.octets -= open.octets;
            if usage.connections == 0 {
                self.networks.remove(&open.network);
            }
        }
    }

    fn usage(&self, network: IpNet) -> Usage {
        self.networks.get(&network).copied().unwrap_or_default()
    }

    /// The network that has most of something.
    fn largest(&self, of: impl Fn(&Usage) -> usize) -> Option<IpNet> {
        let largest = self.networks.iter().max_by_key(|(_, usage)| of(usage));
        largest.map(|(network, _)| *network)
    }

    /// Ends, of the connections that are meant, the one that did least for longest.
    fn evict(&mut self, is_meant: impl Fn(&Open) -> bool) -> Option<()> {
        let meant = self.open.iter().filter(|(_, open)| is_meant(open));
        let idlest = meant.min_by_key(|(id, open)| (open.last, **id));
        let id = *idlest?.0;
        self.open.get(&id)?.evicted.notify_one();
        // Its octets are free at once, and its memory in a moment.
        self.remove(id);
        Some(())
    }

    /// Ends the connection of the network that has waited longest for its client to
    /// read.
    fn evict_holder(&mut self, network: IpNet) -> Option<()> {
        self.evict(|open| open.network == network && open.octets > 0)
    }

    fn grow(&mut self, id: u64, octets: usize) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.octets += octets;
        self.octets += octets;
        self.networks.entry(open.network).or_default().octets += octets;
    }

    /// What a connection that has ended had reserved is free already.
    fn shrink(&mut self, id: u64, octets: usize) {
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

/// The table stays sound whatever panics beside it.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
