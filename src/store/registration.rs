//! What is stored of a host, and the form of a pin on disk.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A registered host, by names alone. Also the form of a peer in a JSON dump.
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
    /// Where its queries come from.
    pub source: IpAddr,
    /// Where other peers reach it.
    pub address: IpAddr,
    /// Rises whenever the ID gets another holder; 0 where a dump does not say it.
    #[serde(default)]
    pub epoch: u64,
}

/// A number that is kept for a host. Also the form of a pin in a JSON dump.
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

/// The form of a pin on disk.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredPin {
    #[serde(rename = "1")]
    V1 { sequence: String, number: u32 },
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
