//! What is asked of the writer, and what becomes of it.

use std::sync::Arc;

use crate::{
    network::{Holder, Hostname, LeaveRefusal, Peer, Refusal, Role},
    zone::{Update, UpdateRefusal, ZoneView},
};

/// What was granted, and a view with the root nodes that there were for the
/// peer at that moment: those of later requests of the same flush are not in it.
/// So of four peers that ask at once, exactly the first is told that there is no
/// root node.
#[derive(Debug)]
pub enum Granted {
    Peer {
        peer: Arc<Peer>,
        view: Arc<ZoneView>,
        /// Whether the host was registered by this, and not known before.
        is_new: bool,
    },
    /// All that an update wanted.
    Updated,
}

/// Why nothing was granted.
#[derive(Debug)]
pub enum Denial {
    Refused(Refusal),
    CannotLeave(LeaveRefusal),
    CannotUpdate(UpdateRefusal),
    /// The store could not write; known peers are still answered.
    NotWritten,
    /// Too many requests are waiting.
    Busy,
    /// The service is stopping.
    Stopping,
}

/// What is asked of the writer.
#[derive(Debug, Clone)]
pub enum Action {
    Register {
        host: Hostname,
        role: Option<Role>,
        asker: Holder,
    },
    Leave {
        host: Hostname,
        asker: Holder,
    },
    Update(Update),
}

/// What became of a request.
pub type Decision = Result<Granted, Denial>;

/// A request in the writer's queue.
pub(super) struct Command {
    /// The zone's place.
    pub zone: usize,
    pub action: Action,
    /// Told what became of it, by the writer itself.
    pub done: Box<dyn FnOnce(Decision) + Send>,
}
