//! Names and records: one network of peers as a DNS zone.
//!
//! Every answer comes from the functions here, whichever way it goes out: UDP,
//! TCP, a transfer, a dump. They only read: of a [`Network`](crate::network::Network), which
//! decides who holds which ID, they say what it looks like in the DNS.
//!
//! * `definition`: what a zone file says ([`Zone`]); `further`: the records that its
//!   master file adds.
//! * `file`: reads a zone file.
//! * `name`: what a name of the zone stands for ([`Name`](QueryName)).
//! * `view`: the zone in one state of its network ([`ZoneView`]).
//! * `lookup`: finds a peer by its name; `peer_records`: writes its records; `packet`:
//!   how octets are laid out; `environments`: those that are kept.
//! * `record_sets`: all records of a peer, for transfers and dumps.
//! * `records`: the zone itself as records, and the values of templates.
//! * `sample`: renders every environment once, when the zone file is read.
//! * `answer`: the answer to any other question; `peer_answer`: to one about a peer that
//!   its records are not.
//! * `update`: what an administrator may change of it.
//! * `content`: the whole zone, as a stream of records.
//! * `master`: master files (RFC 1035, section 5): further records in, dumps out.

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

pub use answer::{Answer, Asked, NO_HOST_NAME, Question};
pub use content::{Registered, Status, ZonePart, status_in, status_of};
pub use definition::{Profile, RegisterKeys, Zone};
pub use environments::{Environments, KEPT_OCTETS};
pub use file::{parse, read, read_directory};
pub use further::Records;
pub use lookup::{Location, Lookup, PeerName};
pub use name::{Form, QueryName, Who};
pub use peer_records::{NoRecords, Written};
pub use record_sets::{RecordSet, RecordSets};
pub use update::{Update, UpdateRefusal};
pub use view::ZoneView;
