//! The values of keys that are neither blocks nor pins, and revisions as numbers of
//! commits.

use serde::{Deserialize, Serialize};

use crate::store::replication::EndedLease;

/// The stored form of a serial.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredSerial {
    #[serde(rename = "1")]
    V1 { serial: u64 },
}

/// The value of a serial.
pub fn serial(serial: u64) -> Vec<u8> {
    serde_json::to_vec(&StoredSerial::V1 { serial }).unwrap_or_default()
}

pub fn serial_in(value: &[u8]) -> Result<u64, serde_json::Error> {
    let StoredSerial::V1 { serial } = serde_json::from_slice(value)?;
    Ok(serial)
}

/// The stored form of the leases of a block that have ended.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredEnded {
    #[serde(rename = "1")]
    V1 { leases: Vec<EndedLease> },
}

/// The value of leases that have ended.
pub fn ended(leases: &[EndedLease]) -> Vec<u8> {
    let leases = leases.to_vec();
    serde_json::to_vec(&StoredEnded::V1 { leases }).unwrap_or_default()
}

pub fn ended_in(value: &[u8]) -> Result<Vec<EndedLease>, serde_json::Error> {
    let StoredEnded::V1 { leases } = serde_json::from_slice(value)?;
    Ok(leases)
}

/// The number of the commit that was stored at a revision, which etcd counts from 1.
pub fn number(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}
