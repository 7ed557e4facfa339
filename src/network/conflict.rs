//! Contradictions between the rules of a network and stored records or pins.

use super::Hostname;

/// A stored record contradicts the rules or another record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("{host} holds {id}, which is out of the range of its sequence")]
    OutOfRange { host: Hostname, id: String },
    #[error("{id} is held by both {first} and {second}")]
    TwoHolders {
        id: String,
        first: Hostname,
        second: Hostname,
    },
    #[error("{host} is registered twice, the second time as {id}")]
    TwoIds { host: Hostname, id: String },
    #[error("{host} holds {id}, but its role draws from another sequence")]
    OtherSequence { host: Hostname, id: String },
    #[error("{id} cannot be pinned to {host}: {refusal}")]
    Pin {
        host: Hostname,
        id: String,
        refusal: PinRefusal,
    },
}

/// Why a number cannot be pinned to a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinRefusal {
    #[error("{host} has another ID: release it first")]
    HasAnother { host: Hostname },
    #[error("the ID belongs to {other}: release that host first")]
    Taken { other: Hostname },
    #[error("the network has no such ID")]
    OutOfRange,
    #[error("no role draws from the sequence of that ID")]
    NoRole,
}
