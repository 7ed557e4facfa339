//! What replicas of the service tell each other about requests: those that one passes on
//! to the writer, and what the writer has decided. They are sent as JSON, in which
//! everything has a name: the zone files of two replicas may differ.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Action, Decision, Denial, Grant};
use crate::{
    network::{Holder, LeaveRefusal, PeerId, Refusal, Role, Sequence},
    zone::{Update, UpdateRefusal, Zone},
};

/// A request that is passed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Forwarded {
    /// Which request of the replica this is.
    pub request: u64,
    /// The origin of the zone.
    pub zone: String,
    pub action: ForwardedAction,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedAction {
    Register {
        host: String,
        role: Option<String>,
        source: IpAddr,
        address: IpAddr,
    },
    Leave {
        host: String,
        source: IpAddr,
        address: IpAddr,
    },
    /// The sections of the update, as a message.
    Update { message: Vec<u8> },
}

/// What the writer has decided about a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decided {
    pub request: u64,
    /// The decision holds as of this commit.
    pub commit: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Granted {
        host: String,
        is_new: bool,
        /// The IDs from which root nodes were chosen at the time of the decision.
        candidates: Vec<NamedId>,
    },
    Updated,
    Denied(NamedDenial),
}

/// An ID with the name of its sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedId(pub String, pub u32);

/// A [`Denial`] with names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedDenial {
    OtherRole(String),
    NoRoot(String),
    Pinned(NamedId),
    Full {
        sequence: String,
        limit: u32,
    },
    NotRegistered,
    NotTheHolder,
    CannotUpdate {
        code: u16,
        text: String,
    },
    NotWritten,
    BeingReleased,
    Busy,
    Stopping,
    /// The replica that was asked has no zone of this name, or not this role.
    OtherZones,
}

impl ForwardedAction {
    pub(super) fn of(zone: &Zone, action: &Action) -> Self {
        match action {
            Action::Register { host, role, client } => Self::Register {
                host: host.to_string(),
                role: role.map(|role| zone.rules.role(role).name.clone()),
                source: client.source,
                address: client.address,
            },
            Action::Leave { host, client } => Self::Leave {
                host: host.to_string(),
                source: client.source,
                address: client.address,
            },
            Action::Update(update) => Self::Update {
                message: update.to_bytes(),
            },
        }
    }

    /// The action in the zone; `None` if the zone has no such role, or the text is no
    /// host name.
    pub fn into_action(self, zone: &Zone) -> Option<Action> {
        match self {
            Self::Register {
                host,
                role,
                source,
                address,
            } => Some(Action::Register {
                host: host.parse().ok()?,
                role: match role {
                    Some(role) => Some(zone.rules.role_named(&role)?),
                    None => None,
                },
                client: Holder { source, address },
            }),
            Self::Leave {
                host,
                source,
                address,
            } => Some(Action::Leave {
                host: host.parse().ok()?,
                client: Holder { source, address },
            }),
            Self::Update { message } => Some(Action::Update(Update::from_bytes(zone, &message)?)),
        }
    }
}

impl Outcome {
    /// The outcome of a decision of this service.
    pub fn of(zone: &Zone, decision: Decision) -> Self {
        match decision {
            Ok(Grant::Peer { peer, view, is_new }) => Self::Granted {
                host: peer.host.to_string(),
                is_new,
                candidates: view
                    .network
                    .root_candidates()
                    .into_iter()
                    .map(|id| NamedId::of(zone, id))
                    .collect(),
            },
            Ok(Grant::Updated) => Self::Updated,
            Err(denial) => Self::Denied(NamedDenial::of(zone, denial)),
        }
    }
}

impl NamedId {
    fn of(zone: &Zone, id: PeerId) -> Self {
        let sequence = zone.rules.sequence(id.sequence).name.clone();
        Self(sequence, id.number)
    }

    pub(super) fn to_id(&self, zone: &Zone) -> Option<PeerId> {
        let number = self.1;
        let sequence = sequence_named(zone, &self.0)?;
        Some(PeerId { sequence, number })
    }
}

/// The sequence of this name.
pub(super) fn sequence_named(zone: &Zone, name: &str) -> Option<Sequence> {
    let mut sequences = zone.rules.sequences.iter();
    let place = sequences.position(|sequence| sequence.name == name)?;
    Some(Sequence(place as u16))
}

impl NamedDenial {
    fn of(zone: &Zone, denial: Denial) -> Self {
        let role_name = |role: Role| zone.rules.role(role).name.clone();
        match denial {
            Denial::Refused(Refusal::OtherRole(role)) => Self::OtherRole(role_name(role)),
            Denial::Refused(Refusal::NoRoot(role)) => Self::NoRoot(role_name(role)),
            Denial::Refused(Refusal::Pinned(id)) => Self::Pinned(NamedId::of(zone, id)),
            Denial::Refused(Refusal::Full { sequence, limit }) => Self::Full {
                sequence: zone.rules.sequence(sequence).name.clone(),
                limit,
            },
            Denial::CannotLeave(LeaveRefusal::Unknown) => Self::NotRegistered,
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => Self::NotTheHolder,
            Denial::CannotUpdate(UpdateRefusal { code, text }) => Self::CannotUpdate {
                code: code.into(),
                text,
            },
            Denial::NotWritten => Self::NotWritten,
            Denial::BeingReleased => Self::BeingReleased,
            Denial::Busy => Self::Busy,
            Denial::Stopping => Self::Stopping,
            Denial::NoWriter | Denial::Late => Self::Stopping,
            Denial::OtherZones => Self::OtherZones,
        }
    }

    /// The denial, with what this zone has by these names.
    pub(super) fn into_denial(self, zone: &Zone) -> Denial {
        let named = match self {
            Self::OtherRole(role) => zone.rules.role_named(&role).map(Refusal::OtherRole),
            Self::NoRoot(role) => zone.rules.role_named(&role).map(Refusal::NoRoot),
            Self::Pinned(id) => id.to_id(zone).map(Refusal::Pinned),
            Self::Full { sequence, limit } => {
                sequence_named(zone, &sequence).map(|sequence| Refusal::Full { sequence, limit })
            }
            Self::NotRegistered => return Denial::CannotLeave(LeaveRefusal::Unknown),
            Self::NotTheHolder => return Denial::CannotLeave(LeaveRefusal::NotTheHolder),
            Self::CannotUpdate { code, text } => {
                let code = code.into();
                return Denial::CannotUpdate(UpdateRefusal { code, text });
            }
            Self::Busy => return Denial::Busy,
            Self::NotWritten => return Denial::NotWritten,
            Self::BeingReleased => return Denial::BeingReleased,
            Self::Stopping => return Denial::NoWriter,
            Self::OtherZones => return Denial::OtherZones,
        };
        named.map_or(Denial::OtherZones, Denial::Refused)
    }
}
