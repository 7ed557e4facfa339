//! What the loops share.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::connections::Connections;
use crate::server::{query::responder::Responder, transfer::Transfers};

/// How many messages may wait for the disk or for an upstream at once. Each
/// takes a few kB; whoever comes beyond that gets no answer and asks again.
pub const PENDING: usize = 4_096;

/// How many plain queries may wait for the registry at once: nearly as many as
/// it takes. Each takes a few hundred octets.
pub const REGISTERING: usize = 16_000;

/// How long the disk or an upstream may take before nobody waits any more. Who
/// asked has given up by then, and asks again.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long messages that are being answered may take when the service ends.
/// Transfers are then broken off.
pub const GRACE: Duration = Duration::from_secs(5);

/// What the loops share.
pub struct Shared {
    pub responder: Responder,
    pub pending: Arc<Semaphore>,
    pub registering: Arc<Semaphore>,
    pub connections: Connections,
    pub transfers: Transfers,
}
