//! What a name of the zone stands for. A name is parsed once, here.

use hickory_proto::rr::Name;

use super::Zone;
use crate::network::{Hostname, PeerId, Role};

/// A name in the zone, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryName {
    /// The origin.
    Apex,
    /// `ns.dns`: this service.
    NameServer,
    /// A peer, or one who may become a peer.
    Peer { who: Who, form: Form },
    /// `_leave.HOST`.
    Leave(Hostname),
    /// `_PORT._tcp`: the peers that offer the port of that name.
    Service(String),
    /// `_peers`: a zone of its own with the state of each peer, for transfers.
    Status,
    /// Nothing here, but names below it (an empty non-terminal, RFC 4592,
    /// section 2.2.2): the answer is NODATA, not NXDOMAIN (RFC 8020).
    Empty,
    /// No name of this zone.
    Unknown,
}

/// How a peer is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By its host's name, and perhaps its role. Only this way registers.
    Host { host: Hostname, role: Option<Role> },
    /// By its ID.
    Id(PeerId),
}

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Its own name.
    Plain,
    /// `_env` before it.
    Environment,
}

/// The label between `ns` and the origin.
pub(super) const NAME_SERVER_PARENT: &str = "dns";
pub(super) const NAME_SERVER: &str = "ns";
pub(super) const STATUS: &str = "_peers";
pub(super) const ENVIRONMENT: &str = "_env";

impl Zone {
    /// Whether the name is the origin or below it.
    pub fn contains(&self, name: &Name) -> bool {
        self.origin.zone_of(name)
    }

    /// What a name stands for that the zone contains.
    pub fn parse(&self, name: &Name) -> QueryName {
        // Not `num_labels`, which does not count a `*` in front.
        let below = name.iter().count() - self.origin.iter().count();
        let labels: Option<Vec<String>> = name
            .iter()
            .take(below)
            .map(|label| Some(std::str::from_utf8(label).ok()?.to_ascii_lowercase()))
            .collect();
        let Some(labels) = labels else {
            return QueryName::Unknown;
        };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => QueryName::Apex,
            ["_tcp"] => QueryName::Empty,
            [STATUS] => QueryName::Status,
            [NAME_SERVER, NAME_SERVER_PARENT] => QueryName::NameServer,
            [port, "_tcp"] => match port.strip_prefix('_') {
                Some(port) if self.ports.contains_key(port) => QueryName::Service(port.into()),
                _ => QueryName::Unknown,
            },
            ["_leave", host] => match self.host(host) {
                Some(host) => QueryName::Leave(host),
                None => QueryName::Unknown,
            },
            [ENVIRONMENT, peer @ ..] => self.peer(peer, Form::Environment),
            [role] if self.rules.role_named(role).is_some() => QueryName::Empty,
            peer => self.peer(peer, Form::Plain),
        }
    }

    /// `ID`, `HOST` or `HOST.ROLE`.
    fn peer(&self, labels: &[&str], form: Form) -> QueryName {
        let who = match labels {
            [id] if self.rules.is_id_shaped(id.as_bytes()) => self.rules.id_named(id).map(Who::Id),
            [host] => self.host(host).map(|host| Who::Host { host, role: None }),
            [host, role] => self
                .host(host)
                .zip(self.rules.role_named(role))
                .map(|(host, role)| Who::Host {
                    host,
                    role: Some(role),
                }),
            _ => None,
        };
        match who {
            Some(who) => QueryName::Peer { who, form },
            None => QueryName::Unknown,
        }
    }

    /// A label that may name a host.
    fn host(&self, label: &str) -> Option<Hostname> {
        let host: Hostname = label.parse().ok()?;
        (!self.is_reserved(&host)).then_some(host)
    }

    /// Whether the name stands for something else than a host: a role, an ID,
    /// or records of the master file.
    pub fn is_reserved(&self, host: &Hostname) -> bool {
        let label = host.as_str();
        self.rules.role_named(label).is_some()
            || self.rules.is_id_shaped(label.as_bytes())
            || (!self.further.is_empty() && self.further.at(&self.name(&[label])).is_some())
    }
}
