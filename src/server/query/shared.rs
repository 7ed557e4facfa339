//! Everything that an answer depends on.

use std::sync::Arc;

use hickory_proto::rr::{Name, rdata::opt::NSIDPayload};

use crate::{
    clock::Clock,
    registry::{Published, Registry},
    server::{
        config::{Identity, access::Access, keys::Keys},
        forward::Forwarder,
        policy::{
            cookie::{Cookie, Cookies},
            limits::{Limiter, Verdict},
            replay::Replays,
            source::Source,
        },
        reply::Terms,
    },
};

pub struct Inner {
    pub registry: Registry,
    pub access: Access,
    pub keys: Keys,
    pub replays: Replays,
    pub forwarder: Option<Arc<Forwarder>>,
    pub clock: Clock,
    pub cookies: Arc<Cookies>,
    pub limits: Arc<Limiter>,
    pub identity: Identity,
    pub nsid: Option<NSIDPayload>,
}

impl Inner {
    /// Whether names outside all zones are resolved for others.
    pub fn is_recursive(&self) -> bool {
        self.forwarder.is_some()
    }

    /// Whether the answer may be sent: not too many to those who may not have asked.
    pub fn verdict(&self, source: Source, proven: bool) -> Verdict {
        self.limits.verdict(source, proven, self.clock.now())
    }

    /// What replies to an unsigned message have in common.
    pub fn terms(&self, source: Source, cookie: Cookie) -> Terms {
        let client = cookie.client();
        Terms {
            transport: source.transport,
            server: source.server,
            recursive: self.is_recursive(),
            by_address: false,
            cookie: client.map(|client| self.cookies.option(client, source.ip)),
            nsid: self.nsid.clone(),
            signature: None,
        }
    }

    /// The zone that the name is in: the one with the longest origin.
    pub fn zone_of(&self, name: &Name) -> Option<(usize, &Arc<Published>)> {
        let zones = self.registry.zones().iter().enumerate();
        zones
            .filter(|(_, published)| published.zone.contains(name))
            .max_by_key(|(_, published)| published.zone.origin.num_labels())
    }
}
