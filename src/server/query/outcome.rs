//! What to do about a message.

use super::pending::Pending;
use crate::server::transfer::Transfer;

/// What to do about a message.
pub enum Outcome {
    /// Nothing: an answer, or less than a header.
    Silence,
    /// The reply is written.
    Reply,
    /// The reply waits for the disk or for an upstream.
    Later(Box<Pending>),
    /// A zone, by TCP.
    Transfer(Box<Transfer>),
}
