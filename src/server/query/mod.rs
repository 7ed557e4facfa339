//! Answers messages.
//!
//! The input is the octets of a message and its source; the output is the octets of
//! the reply, or an operation that the reply waits for. This module opens no socket,
//! and leaves decisions about the client to [`policy`](super::policy).
//!
//! * [`snapshot`]: the published state; reads a batch of queries and looks up their
//!   peers.
//! * [`responder`]: the path of every message.
//! * `peer`: names in a zone, some of which register; `update`: changes of a zone by
//!   administrators; `transfer`: zone transfers; `outside`: names outside all zones;
//!   `identity`: the server's own name and version.
//! * [`pending`]: outcomes, and queries that wait for the registry or an upstream;
//!   `finish`: their replies.

mod finish;
mod identity;
mod outside;
mod peer;
pub mod pending;
pub mod responder;
pub mod snapshot;
mod transfer;
mod update;

pub use pending::Outcome;
