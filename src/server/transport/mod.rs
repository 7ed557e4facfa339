//! Receives messages and sends replies by UDP, TCP and TLS.
//!
//! The input is the octets of messages and their sources; the output is the octets of
//! replies, within limits on open connections and unsent octets. This module neither
//! parses messages nor decides about them: [`query`](super::query) does.
//!
//! * [`listen`]: opens the sockets.
//! * `udp`: the loop of a socket; `batch`: sends and receives batches of packets;
//!   `deferred`: replies that wait.
//! * `tcp`: accepts connections; `tls`: the TLS handshake; `connection`: serves a
//!   connection; `connections`: limits on open connections and their memory.
//! * `shared`: the state that the loops share.

mod batch;
mod connection;
pub(super) mod connections;
mod deferred;
pub mod listen;
pub(super) mod shared;
pub(super) mod tcp;
pub(super) mod tls;
pub(super) mod udp;
