//! The outcome of handling a message.

use super::pending::Pending;
use crate::server::transfer::Transfer;

/// The outcome of handling a message.
pub enum Outcome {
    /// Nothing is sent: the message is a response, shorter than a header, or dropped
    /// by response rate limiting.
    NoReply,
    /// The reply is complete.
    Reply,
    /// The reply waits for the disk or for an upstream.
    Pending(Box<Pending>),
    /// The reply is a zone transfer, by TCP.
    Transfer(Box<Transfer>),
}
