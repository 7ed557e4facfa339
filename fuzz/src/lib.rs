//! What the fuzz targets share: a service without sockets and disk, zones for
//! it, and what must hold of every reply.
//!
//! * `service`: the request handler over a registry whose store lives in memory.
//! * `zones`: the zones that it serves.
//! * `law`: what must hold, whatever the packet.

pub mod law;
pub mod service;
pub mod zones;
