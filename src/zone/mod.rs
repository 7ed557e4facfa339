//! Names and records: a network of peers as a DNS zone.
//!
//! Every answer is made here, whether it is sent by UDP or TCP, in a transfer or in a
//! dump. This module only reads a [`Network`](crate::network::Network), which decides who
//! holds which ID, and represents it in the DNS.
//!
//! * `definition`: a zone as its zone file defines it ([`Zone`]); `further`: the records of
//!   its master file.
//! * `file`: reads zone files.
//! * `name`: parses the names of a zone ([`QueryName`]).
//! * `view`: a zone in one state of its network ([`ZoneView`]).
//! * `lookup`: looks up a peer by its name; `peer_records`: writes its records; `packet`:
//!   the wire format; `environments`: a cache of environments.
//! * `record_sets`: all records of a peer, for transfers and dumps.
//! * `records`: the zone itself as records, and the values of templates.
//! * `sample`: renders every environment once, when the zone file is read.
//! * `answer`: answers all other questions; `peer_answer`: answers about a peer other than
//!   its records.
//! * `update`: the changes that an administrator may make.
//! * `content`: the whole zone, as a stream of records.
//! * `master`: master files (RFC 1035, section 5): reads static records, writes dumps.

mod answer;
mod content;
mod definition;
mod environments;
mod file;
mod further;
mod lookup;
pub mod master;
mod name;
pub mod packet;
mod peer_answer;
mod peer_records;
mod record_sets;
mod records;
mod sample;
mod update;
mod view;

pub use answer::{Answer, NO_HOST_NAME, Question};
pub use content::{PeerState, Status, ZonePart, parse_status, status_origin};
pub use definition::{Profile, RegisterKeys, Zone};
pub use environments::{ENVIRONMENT_CACHE_BYTES, EnvironmentCache};
pub use file::{parse, read, read_directory};
pub use further::StaticRecords;
pub use lookup::{Location, Lookup, PeerName};
pub use name::{Form, PeerRef, QueryName};
pub use peer_records::{NoRecords, RecordCounts};
pub use record_sets::{RecordSet, RecordSets};
pub use update::{Update, UpdateRefusal};
pub use view::ZoneView;
