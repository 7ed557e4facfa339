//! Queries whose replies wait for the registry or an upstream.

use std::{future::Future, pin::Pin};

use hickory_proto::{
    rr::Name,
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use crate::{
    network::{Holder, Hostname, Role},
    registry::Action,
    server::{
        forward::ForwardResult,
        policy::{source::Source, tsig::Signature},
        wire::Query,
    },
    zone::{Form, Update},
};

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
    Leave {
        zone: usize,
        host: Hostname,
        asker: Holder,
    },
    Update {
        zone: usize,
        update: Update,
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

    /// The name in the question.
    pub(super) fn owner(&self) -> Option<Name> {
        Name::read(&mut BinDecoder::new(self.query()?.name)).ok()
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
