//! A message in, what to do about it out.
//!
//! In come the octets of a message and where it came from; out come those of the
//! reply, or what has to be waited for. Nothing here opens a socket, and what is
//! decided of the one who asks is decided in [`policy`](super::policy).
//!
//! * [`handler`]: any message.
//! * [`fast`]: plain queries about registered peers; `client`: who asks them.
//! * `register`: names that register; `update`: administrators change a zone;
//!   `identity`: what the service tells of itself.
//! * `outcome`: what to do about a message; `shared`: what an answer depends on.

mod client;
pub mod fast;
pub mod handler;
mod identity;
pub mod outcome;
pub mod register;
pub(super) mod shared;
mod update;
