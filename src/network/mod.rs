//! The law of one network of peers: who holds which ID, whose lease runs, who
//! is a root node.
//!
//! This module is pure. It knows no clock (time comes in as an argument), no
//! disk, no DNS and no threads, so random histories can be played through it
//! and its laws checked (`tests/network/laws.rs`). What must survive a restart it says
//! as a list of [`Change`]s; whoever calls it makes them durable.
//!
//! * [`Rules`]: what a network allows: sequences, roles, lease, reclaim.
//! * [`Peer`], [`Holder`], [`Lease`]: one registered host; [`PeerRecord`]: what everyone
//!   is told of it.
//! * [`Network`]: all of them, and the decisions.

mod agenda;
mod by_id;
mod change;
mod conflict;
mod free;
mod hosts;
mod id;
mod lease;
mod numbered;
mod peer;
mod pin;
mod register;
mod roots;
mod rules;
mod state;

pub use by_id::{IdSlot, PeerRecord};
pub use change::Change;
pub use conflict::{Conflict, PinRefusal};
pub use hosts::HostKey;
pub use id::{Hostname, PeerId, Role, Sequence};
pub use lease::{Lease, Time};
pub use peer::{Holder, Peer, StoredPeer};
pub use register::{LeaveRefusal, Refusal};
pub use rules::{DEFAULT_LIMIT, RoleRule, Rules, SequenceRule};
pub use state::Network;
