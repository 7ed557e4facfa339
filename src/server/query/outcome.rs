//! What to do about a message.

use std::{future::Future, pin::Pin};

use crate::server::transfer::Transfer;

/// What to do about a message.
pub enum Outcome {
    /// Nothing: an answer, or less than a header.
    Silence,
    Reply(Vec<u8>),
    /// A reply that waits for the disk or for an upstream.
    Later(Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>),
    /// A zone, by TCP.
    Transfer(Box<Transfer>),
}

impl From<Option<Vec<u8>>> for Outcome {
    fn from(reply: Option<Vec<u8>>) -> Self {
        reply.map_or(Self::Silence, Self::Reply)
    }
}
