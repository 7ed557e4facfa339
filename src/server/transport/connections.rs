//! The open connections, by TCP or TLS, and limits on their number and memory.
//!
//! No client is rejected. At the limit of connections, or of memory for replies that
//! clients have not read, the connection that has been inactive longest is evicted,
//! among those of the network with the most. So a client that sends queries and reads
//! replies is served, whatever connections others keep open.
//!
//! A connection reserves the memory of a query before it is read, and that of the
//! largest reply before the query is answered. The excess is released when the reply
//! is ready, and the rest when the client has received it.
//!
//! The connections of one network take turns to be answered, so that many expensive
//! queries delay a connection of another network by no more than one answer each.

mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use self::table::ConnectionTable;
use crate::server::policy::source::Source;

/// The idle timeout of a connection, and the time limit for receiving or sending a
/// message.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The idle timeout close to the maximum number of connections (RFC 7766, section
/// 6.2.3).
const BUSY_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Limits on open connections and their memory.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    pub connections: usize,
    /// The number of connections from one address. Many peers may share an address,
    /// for example behind the masquerading of a node, but `dig` keeps no connection
    /// open.
    pub per_address: usize,
    /// The number of connections that are protected from eviction: those of clients
    /// on this machine and of clients that sign.
    pub protected: usize,
    /// Bytes of queries that are not answered and of replies that are not read: of
    /// one connection, of one network, and in total.
    pub bytes_per_connection: usize,
    pub bytes_per_network: usize,
    pub bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            per_address: 256,
            protected: 128,
            bytes_per_connection: 2 * MAX_REPLY_OCTETS,
            bytes_per_network: 8 << 20,
            bytes: 24 << 20,
        }
    }
}

/// The length of the largest reply: a length field and a message.
pub const MAX_REPLY_OCTETS: usize = 2 + 65_535;

/// The open connections.
#[derive(Clone)]
pub struct Connections {
    table: Arc<Mutex<ConnectionTable>>,
    limits: ConnectionLimits,
    /// Notified when a connection has ended.
    ended: Arc<Notify>,
}

/// A connection, which counts until it is dropped.
pub struct Connection {
    id: u64,
    all: Connections,
    evicted: Arc<Notify>,
    /// Notified when memory of the connection is released.
    released: Arc<Notify>,
    /// Limits how many connections of the network are answered at once.
    turns: Arc<Semaphore>,
}

/// Memory that is reserved until this is dropped.
pub struct Reservation {
    id: u64,
    bytes: usize,
    table: Arc<Mutex<ConnectionTable>>,
    released: Arc<Notify>,
}

impl Connections {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            table: Arc::default(),
            limits,
            ended: Arc::default(),
        }
    }

    /// Waits until all connections have ended.
    pub async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if lock(&self.table).open.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Adds a connection, and evicts another one at the limit.
    pub fn admit(&self, source: Source) -> Connection {
        let address = source.ip;
        let mut table = lock(&self.table);
        if table.count_of(address) >= self.limits.per_address {
            table.evict(|open| open.address == address);
        }
        while table.open.len() >= self.limits.connections && table.evict_any().is_some() {}
        let evicted = Arc::new(Notify::new());
        let (id, turns) = table.add(address, evicted.clone());
        if source.is_local {
            table.protect(id, self.limits.protected);
        }
        Connection {
            id,
            all: self.clone(),
            evicted,
            released: Arc::default(),
            turns,
        }
    }
}

impl Connection {
    /// Waits until the connection is evicted.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Protects the connection from eviction, since the client has signed a message.
    pub fn protect(&self) {
        lock(&self.all.table).protect(self.id, self.all.limits.protected);
    }

    pub fn is_protected(&self) -> bool {
        lock(&self.all.table).is_protected(self.id)
    }

    /// The current idle timeout.
    pub fn idle_timeout(&self) -> Duration {
        let table = lock(&self.all.table);
        let is_busy = table.open.len() > self.all.limits.connections / 4 * 3;
        if is_busy && !table.is_protected(self.id) {
            BUSY_IDLE_TIMEOUT
        } else {
            IDLE_TIMEOUT
        }
    }

    /// Waits for the connection's turn among those of its network. It is never `None`,
    /// since the semaphore is never closed.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.ok()
    }

    /// Waits until the client has read enough to leave room for one more reply.
    pub async fn has_room(&self) {
        loop {
            let released = self.released.notified();
            let bytes = lock(&self.all.table)
                .open
                .get(&self.id)
                .map_or(0, |open| open.bytes);
            if bytes + MAX_REPLY_OCTETS <= self.all.limits.bytes_per_connection {
                return;
            }
            released.await;
        }
    }

    /// Reserves memory, and evicts other connections at the limit. Returns `None` if
    /// this connection was evicted itself.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut table = lock(&self.all.table);
        let network = table.open.get(&self.id)?.network;
        // Of a network, the connection that has waited longest for its client to read.
        let evict = |table: &mut ConnectionTable, network| {
            table.evict(|open| open.network == network && open.bytes > 0)
        };
        while table.bytes_of(network) + bytes > self.all.limits.bytes_per_network {
            evict(&mut table, network)?;
        }
        while table.bytes + bytes > self.all.limits.bytes {
            let largest = table.largest_network()?;
            evict(&mut table, largest)?;
        }
        // This connection may be among those evicted.
        table.open.get_mut(&self.id)?.last_active = Instant::now();
        table.change_memory(self.id, |total| *total += bytes);
        Some(Reservation {
            id: self.id,
            bytes,
            table: self.all.table.clone(),
            released: self.released.clone(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.all.table).remove(self.id);
        self.all.ended.notify_waiters();
    }
}

impl Reservation {
    /// Releases all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        lock(&self.table).change_memory(self.id, |total| *total -= excess);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.change_memory(self.id, |total| *total -= self.bytes);
        if let Some(open) = table.open.get_mut(&self.id) {
            open.last_active = Instant::now();
        }
        drop(table);
        self.released.notify_one();
    }
}

/// Ignores poisoning: no operation on the table panics halfway.
fn lock(table: &Mutex<ConnectionTable>) -> MutexGuard<'_, ConnectionTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::server::policy::source::Transport;

    fn connections() -> Connections {
        Connections::new(ConnectionLimits {
            connections: 8,
            per_address: 4,
            protected: 2,
            ..ConnectionLimits::default()
        })
    }

    fn from(address: &str) -> Source {
        let address = SocketAddr::new(address.parse().unwrap(), 4_000);
        Source::new(address, Transport::Tcp, address.ip())
    }

    fn is_open(connection: &Connection) -> bool {
        lock(&connection.all.table)
            .open
            .contains_key(&connection.id)
    }

    #[test]
    fn unprotected_connections_of_many_networks_evict_no_protected_one() {
        let connections = connections();
        let local = connections.admit(from("127.0.0.1"));
        let signing = connections.admit(from("192.0.2.1"));
        signing.protect();
        let other = connections.admit(from("192.0.2.2"));
        let _others: Vec<Connection> = (0..100)
            .map(|network| connections.admit(from(&format!("10.0.{network}.1"))))
            .collect();
        assert!(is_open(&local) && is_open(&signing));
        assert!(!is_open(&other), "it was inactive longest");
        assert_eq!(lock(&connections.table).open.len(), 8);
        assert_eq!(
            [local.idle_timeout(), signing.idle_timeout()],
            [IDLE_TIMEOUT; 2]
        );
    }

    #[test]
    fn protected_connections_are_limited_and_lock_no_client_out() {
        let connections = connections();
        let local: Vec<Connection> = (1..=8)
            .map(|host| connections.admit(from(&format!("127.0.0.{host}"))))
            .collect();
        let protected: Vec<bool> = local.iter().map(Connection::is_protected).collect();
        assert_eq!(protected[6..], [true, true], "the newest ones");
        assert!(!protected[..6].contains(&true));
        let other = connections.admit(from("192.0.2.2"));
        assert!(is_open(&other) && !is_open(&local[0]));
        drop((local, other));
        assert!(lock(&connections.table).open.is_empty());
    }

    #[test]
    fn a_client_that_signs_is_protected_from_others_of_its_address() {
        let connections = connections();
        let signing = connections.admit(from("192.0.2.1"));
        signing.protect();
        let others: Vec<Connection> = (0..4)
            .map(|_| connections.admit(from("192.0.2.1")))
            .collect();
        assert!(is_open(&signing) && !is_open(&others[0]) && is_open(&others[1]));
    }
}
