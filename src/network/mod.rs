//! The rules by which one network of peers is run: who holds which ID, whose
//! lease is running, and who is a root node.
//!
//! This module is pure. It has no clock (time is an argument), no disk, no DNS
//! and no threads, so that `tests/laws.rs` can play random histories and check
//! its invariants. It returns what must survive a restart as a list of
//! [`Change`]s, which the caller makes durable.
//!
//! * [`Rules`]: the configuration of a network: sequences, roles, lease, reclaim.
//! * [`Peer`], [`Holder`], [`Lease`]: one registered host; [`PeerSummary`]: what
//!   is published about it.
//! * [`Network`]: all peers, and the decisions.

mod free;
mod hosts;
mod id;
mod lease;
mod number_map;
mod peer_table;
mod pin;
mod register;
mod roots;
mod rules;
mod state;
mod time_index;

pub use hosts::HashedLabel;
pub use id::{Hostname, PeerId, Role, Sequence};
pub use lease::{Lease, Time};
pub use peer_table::{PeerSummary, Slot};
pub use pin::PinRefusal;
pub use register::{Change, LeaveRefusal, Refusal};
pub use rules::{DEFAULT_LIMIT, RoleRule, Rules, SequenceRule};
pub use state::{Conflict, Holder, Network, Peer, StoredPeer};
