//! A message in, what to do about it out.
//!
//! In come the octets of a message and where it came from; out come those of the
//! reply, or what has to be waited for. Nothing here opens a socket, and what the one
//! who asks may do is decided in [`policy`](super::policy).
//!
//! * [`snapshot`]: the published state, in which a batch of queries is read and the
//!   peers that they ask for are found.
//! * [`responder`]: what an answer depends on, and any message: the way of a query.
//! * `peer`: names of peers, which register or only read; `update`: administrators
//!   change a zone; `transfer`: clients copy one; `outside`: names outside all zones;
//!   `identity`: what the service tells of itself.
//! * [`pending`]: what waits for the registry or an upstream; `finish`: its reply.

mod finish;
mod identity;
mod outcome;
mod outside;
mod peer;
pub mod pending;
pub mod responder;
pub mod snapshot;
mod transfer;
mod update;

pub use outcome::Outcome;
