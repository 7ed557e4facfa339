//! Names and records: one network of peers as a DNS zone.
//!
//! Every answer comes from the functions here, whichever way it goes out: UDP,
//! TCP, a transfer, a dump. They only read: of a [`Network`](crate::network::Network), which decides who
//! holds which ID, they say what it looks like in the DNS.
//!
//! * `definition`: what a zone file says ([`Zone`]); `further`: the records that its
//!   master file adds.
//! * `file`: reads a zone file.
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
mod definition;
mod file;
mod further;
pub mod master;
mod name;
pub mod packet;
mod peer;
mod ready;
mod records;
mod sample;
mod sets;
mod update;

pub use answer::{Answer, Asked, NO_HOST_NAME, Question};
pub use content::{Part, Registered, Status, status_in, status_of};
pub use definition::{Profile, RegisterKeys, Zone};
pub use file::{parse, read, read_directory};
pub use further::Records;
pub use name::{Form, QueryName, Who};
pub use ready::{Called, Counts, Found, Name as ReadyName, Ready};
pub use sets::{Set, Sets};
pub use update::{Update, UpdateRefusal};
