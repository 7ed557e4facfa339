//! Parses the names of a zone.

use hickory_proto::rr::Name;

use super::Zone;
use crate::network::{Hostname, PeerId, Role};

/// A parsed name in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryName {
    /// The origin.
    Apex,
    /// `ns.dns`: this service.
    NameServer,
    /// The name of a peer, or of a host that can register.
    Peer { peer: PeerRef, form: Form },
    /// `_leave.HOST`.
    Leave(Hostname),
    /// `_PORT._tcp`: the peers that offer the port.
    Service(String),
    /// `_peers`: a separate zone with the status of each peer, for transfers.
    Status,
    /// An empty non-terminal (RFC 4592, section 2.2.2): the answer is NODATA, not NXDOMAIN
    /// (RFC 8020).
    Empty,
    /// The zone itself does not have this name.
    Unknown,
}

/// A reference to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRef {
    /// By its host name, and optionally its role. Only such a name registers.
    Host { host: Hostname, role: Option<Role> },
    /// By its ID.
    Id(PeerId),
}

/// The form of a name of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The host name or ID.
    Plain,
    /// `_env` and the host name or ID.
    Environment,
}

/// The label between `ns` and the origin.
pub(super) const NAME_SERVER_PARENT: &str = "dns";
pub(super) const NAME_SERVER: &str = "ns";
pub(super) const STATUS: &str = "_peers";
pub(super) const ENVIRONMENT: &str = "_env";

impl Zone {
    /// Whether the name is the origin or a name below it.
    pub fn contains(&self, name: &Name) -> bool {
        self.origin.zone_of(name)
    }

    /// Parses a name that the zone contains.
    pub fn parse(&self, name: &Name) -> QueryName {
        self.parse_known(name).unwrap_or(QueryName::Unknown)
    }

    fn parse_known(&self, name: &Name) -> Option<QueryName> {
        // `num_labels` would not count a leading `*`.
        let below = name.iter().count() - self.origin.iter().count();
        let labels = name.iter().take(below).map(std::str::from_utf8);
        let labels = labels.map(|label| Some(label.ok()?.to_ascii_lowercase()));
        let labels = labels.collect::<Option<Vec<String>>>()?;
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        Some(match labels.as_slice() {
            [] => QueryName::Apex,
            ["_tcp"] => QueryName::Empty,
            [STATUS] => QueryName::Status,
            [NAME_SERVER, NAME_SERVER_PARENT] => QueryName::NameServer,
            [port, "_tcp"] => {
                let port = port.strip_prefix('_')?;
                self.ports.get(port)?;
                QueryName::Service(port.into())
            }
            ["_leave", host] => QueryName::Leave(self.host(host)?),
            [ENVIRONMENT, peer @ ..] => self.peer(peer, Form::Environment)?,
            [role] if self.rules.role_named(role).is_some() => QueryName::Empty,
            peer => self.peer(peer, Form::Plain)?,
        })
    }

    /// `ID`, `HOST` or `HOST.ROLE`.
    fn peer(&self, labels: &[&str], form: Form) -> Option<QueryName> {
        let peer = match labels {
            [id] if self.rules.is_id_shaped(id.as_bytes()) => PeerRef::Id(self.rules.id_named(id)?),
            [host, role @ ..] => {
                let host = self.host(host)?;
                let role = match role {
                    [] => None,
                    [role] => Some(self.rules.role_named(role)?),
                    _ => return None,
                };
                PeerRef::Host { host, role }
            }
            [] => return None,
        };
        Some(QueryName::Peer { peer, form })
    }

    /// A label as a host name, if a host can have it.
    fn host(&self, label: &str) -> Option<Hostname> {
        let host: Hostname = label.parse().ok()?;
        (!self.is_reserved(&host)).then_some(host)
    }

    /// Whether the name is reserved: for a role, an ID, or records of the master file.
    pub fn is_reserved(&self, host: &Hostname) -> bool {
        let label = host.as_str();
        self.rules.role_named(label).is_some()
            || self.rules.is_id_shaped(label.as_bytes())
            || (!self.static_records.is_empty()
                && self.static_records.get(&self.name(&[label])).is_some())
    }
}

/// Whether a text has only lowercase letters, digits and `-`, and starts with a letter.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}
