//! The definition of a zone.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use hickory_proto::rr::Name;

use super::StaticRecords;
use crate::{network::Rules, params::Environment};

/// A zone as its zone file defines it.
#[derive(Debug)]
pub struct Zone {
    pub path: PathBuf,
    /// A checksum of the text of the zone file: replicas with different files differ in
    /// it.
    pub digest: u32,
    /// Absolute, in lower case.
    pub origin: Name,
    /// The line of the zone file that states the origin.
    pub origin_line: usize,
    /// The number of PBFT replicas.
    pub n: Option<u32>,
    /// The TTL of answers that do not register, in seconds.
    pub ttl: u32,
    pub ports: BTreeMap<String, u16>,
    /// The port at which root nodes are reached; `address=` contains it too.
    pub root_port: u16,
    /// Indexed by [`Role`](crate::network::Role).
    pub profiles: Vec<Profile>,
    pub rules: Arc<Rules>,
    pub master_file: Option<PathBuf>,
    /// The records of the zone's master file.
    pub static_records: StaticRecords,
    /// The addresses of `ns.dns` in the zone: those of this service.
    pub servers: Vec<IpAddr>,
    /// The keys of which one must sign a registration; `None` if no signature is
    /// required.
    pub register_keys: Option<RegisterKeys>,
}

/// The keys with which clients of a zone may register.
#[derive(Debug)]
pub struct RegisterKeys {
    pub names: Vec<Name>,
    /// The line of the zone file that names them.
    pub line: usize,
}

impl RegisterKeys {
    pub fn has(&self, key: &Name) -> bool {
        self.names.contains(key)
    }
}

/// The ports and the environment of the peers of a role.
#[derive(Debug)]
pub struct Profile {
    /// The names of the ports that the peers offer.
    pub ports: Vec<String>,
    pub environment: Environment,
    /// Whether the last environment could not be rendered, so that only the first of a
    /// series of errors is logged.
    pub is_failing: AtomicBool,
}

impl Zone {
    /// The number of Byzantine faults that the network tolerates: a third of n - 1,
    /// rounded down.
    pub fn f(&self) -> Option<u32> {
        self.n.map(|n| (n - 1) / 3)
    }

    /// An address of the service for records that no query to one of its addresses
    /// requests: in transfers and dumps.
    pub(crate) fn server(&self) -> IpAddr {
        let first = self.servers.first().copied();
        first.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The origin as it is stored: absolute, in lower case.
    pub fn origin_text(&self) -> String {
        self.origin.to_ascii()
    }
}

impl fmt::Display for Zone {
    /// Writes the origin without its final dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin_text().trim_end_matches('.'))
    }
}
