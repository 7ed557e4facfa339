//! The rules of a network of peers: who holds which ID, which leases are running,
//! and who is a root node.
//!
//! This module is pure. It uses no clock (time is an argument), no disk, no DNS and
//! no threads, so that tests can run random histories through it and check its laws
//! (`tests/network/laws.rs`). It returns what must survive a restart as a list of
//! [`Change`]s, which the caller makes durable.
//!
//! * [`Rules`]: the rules of a network: sequences, roles, lease, reclaim.
//! * [`Peer`], [`Holder`], [`Lease`]: a registered host; [`PeerRecord`]: its public
//!   data.
//! * [`Network`]: all peers, and the decisions.

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
mod replicate;
mod roots;
mod rules;
mod state;
mod withhold;

pub use by_id::{IdSlot, PeerRecord};
pub use change::Change;
pub use conflict::{Conflict, PinRefusal};
pub use hosts::HostKey;
pub use id::{Hostname, PeerId, Role, Sequence};
pub use lease::{Lease, Time};
pub use peer::{Holder, Peer, StoredPeer};
pub use register::{LeaveRefusal, Refusal};
pub use replicate::Replicated;
pub use rules::{DEFAULT_LIMIT, RoleRule, Rules, SequenceRule};
pub use state::Network;
