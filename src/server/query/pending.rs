//! The outcome of handling a message, which may wait for the registry or an upstream.

use std::{future::Future, pin::Pin};

use crate::{
    network::{Holder, Hostname, Role},
    registry::Action,
    server::{
        forward::ForwardResult,
        policy::{source::Source, tsig::Signature},
        transfer::Transfer,
        wire::Query,
    },
    zone::Form,
};

/// The outcome of handling a message.
pub enum Outcome {
    /// Nothing is sent: the message is a response, shorter than a header, or dropped
    /// by response rate limiting.
    NoReply,
    /// The reply is complete.
    Reply,
    /// The reply waits for the disk or for an upstream.
    Pending(Box<Pending>),
    /// The reply is a zone transfer, by TCP.
    Transfer(Box<Transfer>),
}

/// A message whose reply waits for an operation, which the policy has allowed.
pub struct Pending {
    pub(super) packet: Vec<u8>,
    pub(super) source: Source,
    pub(super) signature: Option<Signature>,
    /// Whether the answer depends on the address that the client states with EDNS
    /// CLIENT-SUBNET.
    pub(super) depends_on_subnet: bool,
    pub(super) operation: Operation,
}

/// The operation that a reply waits for.
pub(super) enum Operation {
    Register(RegistrationRequest),
    /// Another change of the zone with this index in the registry.
    Change {
        zone: usize,
        action: Action,
    },
    Forward(Pin<Box<dyn Future<Output = ForwardResult> + Send>>),
}

/// A request to register a host.
#[derive(Debug, Clone)]
pub struct RegistrationRequest {
    /// The zone's index in the registry.
    pub zone: usize,
    pub host: Hostname,
    pub role: Option<Role>,
    pub asker: Holder,
    pub form: Form,
}

impl Pending {
    /// The query. It is `Some`, since the message was parsed before.
    pub(super) fn query(&self) -> Option<Query<'_>> {
        Query::read(&self.packet).or_else(|| Query::read_any(&self.packet))
    }

    /// The request to register a host, if the reply waits for one.
    pub fn registration(&self) -> Option<&RegistrationRequest> {
        match &self.operation {
            Operation::Register(registration) => Some(registration),
            _ => None,
        }
    }
}

impl RegistrationRequest {
    /// The request as an action of the registry.
    pub fn action(&self) -> Action {
        Action::Register {
            host: self.host.clone(),
            role: self.role,
            client: self.asker,
        }
    }
}
