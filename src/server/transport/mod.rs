//! Packets and connections come in, replies go out: by UDP, TCP and TLS.
//!
//! In come the octets of messages with the address that they came from; out go those
//! of replies, within bounds on what is open and unsent. Nothing here understands a
//! message or decides about one: that is for [`query`](super::query).
//!
//! * [`listen`]: opens the sockets.
//! * `udp`: the loop of a socket; `batch`: packets by the batch; `deferred`: queries
//!   that wait for the registry.
//! * `tcp`: takes connections; `tls`: the handshake of some; `connection`: serves one;
//!   `connections`: those that are open, and the memory that they may take.
//! * `shared`: what the loops share.

mod batch;
mod connection;
pub(super) mod connections;
mod deferred;
pub mod listen;
pub(super) mod shared;
pub(super) mod tcp;
pub(super) mod tls;
pub(super) mod udp;
