//! The stored form of registrations and pins.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A registered host, with its role and sequence by name. This is also the form
/// of a peer in a JSON dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The host's name, in lower case.
    pub host: String,
    /// The sequence of its ID: `vp`.
    pub sequence: String,
    /// The number in that sequence.
    pub number: u32,
    /// The role's name, in lower case.
    pub role: String,
    /// The source address of its queries.
    pub source: IpAddr,
    /// The address at which other peers reach it.
    pub address: IpAddr,
    /// Rises whenever the ID passes to another holder; 0 if a dump does not state
    /// it.
    #[serde(default)]
    pub epoch: u64,
}

/// A number that is reserved for a host. This is also the form of a pin in a JSON
/// dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The host's name, in lower case.
    pub host: String,
    /// The sequence of the ID: `vp`.
    pub sequence: String,
    /// The number in that sequence.
    pub number: u32,
}

/// The form of a pin in the database.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredPin {
    #[serde(rename = "1")]
    V1 { sequence: String, number: u32 },
}

impl From<Registration> for Pin {
    fn from(registration: Registration) -> Self {
        Self {
            host: registration.host,
            sequence: registration.sequence,
            number: registration.number,
        }
    }
}

impl Pin {
    /// The value that is stored under the host's name.
    pub(super) fn to_value(&self) -> Vec<u8> {
        let stored = StoredPin::V1 {
            sequence: self.sequence.clone(),
            number: self.number,
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    pub(super) fn from_value(host: String, value: &[u8]) -> Result<Self, serde_json::Error> {
        let StoredPin::V1 { sequence, number } = serde_json::from_slice(value)?;
        Ok(Self {
            host,
            sequence,
            number,
        })
    }
}
