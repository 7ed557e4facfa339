//! The state that the loops share.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::connections::Connections;
use crate::server::{query::responder::Responder, transfer::Transfers};

/// The maximum number of messages that wait for the disk or an upstream. Each takes a
/// few kB. Further queries are dropped, and their clients repeat them.
pub const MAX_PENDING: usize = 4_096;

/// The maximum number of registrations by UDP that wait for the registry, nearly as
/// many as its queue accepts. Each takes a few hundred bytes.
pub const MAX_REGISTERING: usize = 16_000;

/// The time limit for the disk or an upstream. After it, the client has given up, and
/// repeats its query.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for replies when the service stops. Transfers are then aborted.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The state that the loops share.
pub struct Shared {
    pub responder: Responder,
    pub pending: Arc<Semaphore>,
    pub registering: Arc<Semaphore>,
    pub connections: Connections,
    pub transfers: Transfers,
}
