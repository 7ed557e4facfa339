//! What a zone file says.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use hickory_proto::rr::Name;

use super::Records;
use crate::{network::Rules, params::Environment};

/// What a zone file says.
#[derive(Debug)]
pub struct Zone {
    pub path: PathBuf,
    /// Absolute, in lower case.
    pub origin: Name,
    /// The number of PBFT replicas.
    pub n: Option<u32>,
    /// How long answers may be cached that register nothing, in seconds.
    pub ttl: u32,
    pub ports: BTreeMap<String, u16>,
    /// The port at which root nodes are reached; `address=` has it too.
    pub root_port: u16,
    /// By [`Role`](crate::network::Role).
    pub profiles: Vec<Profile>,
    pub rules: Arc<Rules>,
    /// Records that the zone file's master file adds.
    pub further: Records,
    /// The addresses of `ns.dns` in the zone: those of this service.
    pub servers: Vec<IpAddr>,
    /// Who registers must sign with one of these keys; `None` where nobody must.
    pub register_keys: Option<RegisterKeys>,
}

/// The keys that a zone demands of who registers.
#[derive(Debug)]
pub struct RegisterKeys {
    pub names: Vec<Name>,
    /// Where the zone file names them.
    pub line: usize,
}

impl RegisterKeys {
    pub fn has(&self, key: &Name) -> bool {
        self.names.contains(key)
    }
}

/// What the peers of a role offer and are told.
#[derive(Debug)]
pub struct Profile {
    /// The names of the ports that they offer.
    pub ports: Vec<String>,
    pub environment: Environment,
    /// Whether the environment that was asked for last could not be rendered, so
    /// that the log tells when that begins, and not each time.
    pub is_failing: AtomicBool,
}

impl Zone {
    /// The Byzantine faults that the network tolerates: a third of all
    /// replicas but one, rounded down.
    pub fn f(&self) -> Option<u32> {
        self.n.map(|n| (n - 1) / 3)
    }

    /// An address of the service, for what nobody has asked for at one of them:
    /// transfers and dumps.
    pub(crate) fn server(&self) -> IpAddr {
        let first = self.servers.first().copied();
        first.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The origin as the store keeps it: absolute, in lower case.
    pub fn origin_text(&self) -> String {
        self.origin.to_ascii()
    }
}

impl fmt::Display for Zone {
    /// The origin without its last dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin_text().trim_end_matches('.'))
    }
}
