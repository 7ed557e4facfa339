//! Names and records: one network of peers as a DNS zone.
//!
//! Every answer comes from the functions here, whichever way it goes out: UDP,
//! TCP, a transfer, a dump. They only read: of a [`Network`](crate::network::Network), which decides who
//! holds which ID, they say what it looks like in the DNS.
//!
//! * `file`: reads a zone file into a [`Zone`].
//! * `name`: what a name of the zone stands for ([`Name`](QueryName)).
//! * `records`: a peer as records.
//! * `ready`: the same as octets, for the short way; `sets`: for transfers;
//!   `packet`: how octets are laid out.
//! * `sample`: renders every environment once, when the zone file is read.
//! * `answer`: the answer to a question; `peer`: to one about a peer.
//! * `update`: what an administrator may change of it.
//! * `content`: the whole zone, as a stream of records.
//! * `master`: master files (RFC 1035, section 5): further records in, dumps out.

mod answer;
mod content;
mod file;
pub mod master;
mod name;
pub mod packet;
mod peer;
mod ready;
mod records;
mod sample;
mod sets;
mod update;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use hickory_proto::rr::Name;

use crate::{network::Rules, params::Environment};

pub use answer::{Answer, Asked, NO_HOST_NAME, Question};
pub use content::{Part, Registered, Status, status_in, status_of};
pub use file::{parse, read, read_directory};
pub use name::{Form, QueryName, Who};
pub use ready::{Called, Counts, Found, Name as ReadyName, Ready};
pub use sets::{Set, Sets};
pub use update::{Update, UpdateRefusal};

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
    pub further: master::Records,
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
