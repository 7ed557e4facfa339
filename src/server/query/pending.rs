//! What waits for the registry or an upstream.

use std::{future::Future, pin::Pin};

use hickory_proto::{
    rr::Name,
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use crate::{
    network::{Holder, Hostname, Role},
    registry::Action,
    server::{
        forward::Forwarded,
        policy::{source::Source, tsig::Signature},
        wire::Query,
    },
    zone::{Form, Update},
};

/// A message whose reply waits. It was allowed to ask for what it waits for.
pub struct Pending {
    pub(super) packet: Vec<u8>,
    pub(super) source: Source,
    pub(super) signature: Option<Signature>,
    /// Whether the answer depends on the address that the client stated.
    pub(super) by_address: bool,
    pub(super) work: Work,
}

/// What a reply waits for.
pub(super) enum Work {
    Register(Registration),
    Leave {
        zone: usize,
        host: Hostname,
        asker: Holder,
    },
    Update {
        zone: usize,
        update: Update,
    },
    Forward(Pin<Box<dyn Future<Output = Forwarded> + Send>>),
}

/// A host that asks for its parameters.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The zone's place in the registry.
    pub zone: usize,
    pub host: Hostname,
    pub role: Option<Role>,
    pub asker: Holder,
    pub form: Form,
}

impl Pending {
    /// The query; hickory's parser has understood the message before.
    pub(super) fn query(&self) -> Option<Query<'_>> {
        Query::read(&self.packet).or_else(|| Query::read_any(&self.packet))
    }

    /// The name asked for.
    pub(super) fn owner(&self) -> Option<Name> {
        Name::read(&mut BinDecoder::new(self.query()?.name)).ok()
    }

    /// What it asks of the registry, if that is to register a host.
    pub fn registration(&self) -> Option<&Registration> {
        match &self.work {
            Work::Register(registration) => Some(registration),
            _ => None,
        }
    }
}

impl Registration {
    /// What is asked of the registry.
    pub fn action(&self) -> Action {
        Action::Register {
            host: self.host.clone(),
            role: self.role,
            client: self.asker,
        }
    }
}
