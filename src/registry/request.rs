//! Requests to the writer, and their results.

use std::sync::Arc;

use crate::{
    network::{Holder, Hostname, LeaveRefusal, Peer, Refusal, Role},
    zone::{Update, UpdateRefusal, ZoneView},
};

/// The result of a request that was granted.
#[derive(Debug)]
pub enum Grant {
    Peer {
        peer: Arc<Peer>,
        /// A view with the root nodes for the peer at the time of the decision, without
        /// those of later requests in the same flush. So of four peers that register
        /// at once, exactly the first gets an answer without a root node.
        view: Arc<ZoneView>,
        /// Whether this request registered the host, which was not known before.
        is_new: bool,
    },
    /// The whole update was applied.
    Updated,
}

/// Why a request was denied.
#[derive(Debug)]
pub enum Denial {
    Refused(Refusal),
    CannotLeave(LeaveRefusal),
    CannotUpdate(UpdateRefusal),
    /// The store cannot write; known peers are still answered.
    NotWritten,
    /// Not all replicas know yet that the host was released.
    BeingReleased,
    /// This replica has no contact with the writer; known peers are still answered.
    NoWriter,
    /// The writer has not decided in time.
    Late,
    /// The writer has no zone of this name, or not this role.
    OtherZones,
    /// Too many requests are waiting.
    Busy,
    /// The service is stopping.
    Stopping,
}

/// A change that the writer is to make.
#[derive(Debug, Clone)]
pub enum Action {
    Register {
        host: Hostname,
        role: Option<Role>,
        client: Holder,
    },
    Leave {
        host: Hostname,
        client: Holder,
    },
    Update(Update),
}

impl Action {
    /// Whether it does no harm to decide it again, if the first decision may have been
    /// stored and was lost. A client that has left may find another holder the second
    /// time, and would be told that it never was the holder.
    pub(super) fn may_be_repeated(&self) -> bool {
        matches!(self, Self::Register { .. })
    }
}

/// The result of a request.
pub type Decision = Result<Grant, Denial>;

/// A request in the writer's queue.
pub(super) struct Command {
    /// The index of the zone.
    pub zone: usize,
    pub action: Action,
    /// The writer calls this with its decision.
    pub reply: Box<dyn FnOnce(Decision) + Send>,
}
