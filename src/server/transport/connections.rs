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
//!
//! The connections of one network take turns to be answered, so that many that ask
//! for much keep those of another network waiting for no more than one answer each.

mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use self::table::Table;
use crate::server::policy::source::Source;

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
    /// How many of them all are kept for callers on this machine and clients that sign.
    /// Further ones have their places as strangers have.
    pub kept: usize,
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
            kept: 128,
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
    /// Notified when one has ended.
    ended: Arc<Notify>,
}

/// A connection that is counted until this is dropped.
pub struct Connection {
    id: u64,
    table: Arc<Mutex<Table>>,
    bounds: Bounds,
    evicted: Arc<Notify>,
    /// Notified when the client has taken something.
    relieved: Arc<Notify>,
    /// Those of the network that may be answered at once.
    turns: Arc<Semaphore>,
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

    /// Counts a connection. Where there is no place, another one makes room.
    pub fn admit(&self, source: Source) -> Connection {
        let address = source.ip;
        let mut table = lock(&self.table);
        if table.count_of(address) >= self.bounds.of_address {
            table.evict_of(address);
        }
        while table.open.len() >= self.bounds.connections {
            if table.evict_for_place().is_none() {
                break;
            }
        }
        let evicted = Arc::new(Notify::new());
        let (id, turns) = table.add(address, evicted.clone());
        if source.is_local {
            table.keep(id, self.bounds.kept);
        }
        Connection {
            id,
            table: self.table.clone(),
            bounds: self.bounds,
            evicted,
            relieved: Arc::default(),
            turns,
            ended: self.ended.clone(),
        }
    }
}

impl Connection {
    /// Waits until another connection needs the place of this one.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Keeps the place, since the client has signed a message.
    pub fn keep(&self) {
        lock(&self.table).keep(self.id, self.bounds.kept);
    }

    /// Whether its place is kept.
    pub fn is_kept(&self) -> bool {
        let table = lock(&self.table);
        table.open.get(&self.id).is_some_and(|open| open.is_kept)
    }

    /// How long it may be idle now.
    pub fn idle(&self) -> Duration {
        let table = lock(&self.table);
        let is_busy = table.open.len() > self.bounds.connections / 4 * 3;
        let is_kept = table.open.get(&self.id).is_some_and(|open| open.is_kept);
        match is_busy && !is_kept {
            true => IDLE_WHEN_BUSY,
            false => IDLE,
        }
    }

    /// Waits until it may be answered, among those of its network. `None` where there
    /// will be no turn, which never is.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.ok()
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
        while table.octets_of(network) + octets > self.bounds.octets_of_network {
            table.evict_holder(network)?;
        }
        while table.octets + octets > self.bounds.octets {
            let largest = table.largest_holder()?;
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

/// The table stays sound whatever panics beside it.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::server::policy::source::Transport;

    fn connections() -> Connections {
        Connections::new(Bounds {
            connections: 8,
            of_address: 4,
            kept: 2,
            ..Bounds::default()
        })
    }

    fn from(address: &str) -> Source {
        let address = SocketAddr::new(address.parse().unwrap(), 4_000);
        Source::new(address, Transport::Tcp, address.ip())
    }

    fn is_open(connection: &Connection) -> bool {
        lock(&connection.table).open.contains_key(&connection.id)
    }

    #[test]
    fn strangers_of_many_networks_take_no_place_that_is_kept() {
        let connections = connections();
        let local = connections.admit(from("127.0.0.1"));
        let signing = connections.admit(from("192.0.2.1"));
        signing.keep();
        let stranger = connections.admit(from("192.0.2.2"));
        let _others: Vec<Connection> = (0..100)
            .map(|network| connections.admit(from(&format!("10.0.{network}.1"))))
            .collect();
        assert!(is_open(&local) && is_open(&signing));
        assert!(!is_open(&stranger), "it did least for longest");
        assert_eq!(lock(&connections.table).open.len(), 8);
        assert_eq!([local.idle(), signing.idle()], [IDLE, IDLE]);
    }

    #[test]
    fn those_that_are_kept_are_so_many_and_lock_nobody_out() {
        let connections = connections();
        let local: Vec<Connection> = (1..=8)
            .map(|host| connections.admit(from(&format!("127.0.0.{host}"))))
            .collect();
        let kept: Vec<bool> = local.iter().map(Connection::is_kept).collect();
        assert_eq!(kept[6..], [true, true], "the last that came");
        assert!(!kept[..6].contains(&true));
        let stranger = connections.admit(from("192.0.2.2"));
        assert!(is_open(&stranger) && !is_open(&local[0]));
        drop((local, stranger));
        assert!(lock(&connections.table).open.is_empty());
    }

    #[test]
    fn a_client_that_signs_is_kept_among_others_of_its_address() {
        let connections = connections();
        let signing = connections.admit(from("192.0.2.1"));
        signing.keep();
        let others: Vec<Connection> = (0..4)
            .map(|_| connections.admit(from("192.0.2.1")))
            .collect();
        assert!(is_open(&signing) && !is_open(&others[0]) && is_open(&others[1]));
    }
}
