//! The values of keys that are neither blocks nor pins, and revisions as numbers of
//! commits.

use serde::{Deserialize, Serialize, de::Error as _};

use crate::store::replication::BlockLeases;

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

/// The stored form of the key that every transaction of a commit writes.
#[derive(Serialize, Deserialize)]
struct StoredCommit {
    version: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    open: bool,
}

/// The value of the key `commit`, after the last transaction of a commit or (`open`)
/// before.
pub fn commit(open: bool) -> Vec<u8> {
    serde_json::to_vec(&StoredCommit { version: 1, open }).unwrap_or_default()
}

/// Whether more of the commit follows.
pub fn is_open(value: &[u8]) -> Result<bool, serde_json::Error> {
    let StoredCommit { version, open } = serde_json::from_slice(value)?;
    if version == 1 {
        return Ok(open);
    }
    let later = format!("its version {version} is not supported by this release");
    Err(serde_json::Error::custom(later))
}

/// The stored form of the leases of a block.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredEnded {
    #[serde(rename = "1")]
    V1(BlockLeases),
}

/// The value of the leases of a block; none if there is nothing to store.
pub fn ended(leases: &BlockLeases) -> Option<Vec<u8>> {
    let stored = || serde_json::to_vec(&StoredEnded::V1(leases.clone())).unwrap_or_default();
    (*leases != BlockLeases::default()).then(stored)
}

pub fn ended_in(value: &[u8]) -> Result<BlockLeases, serde_json::Error> {
    let StoredEnded::V1(leases) = serde_json::from_slice(value)?;
    Ok(leases)
}

/// The number of the commit that was stored at a revision, which etcd counts from 1.
pub fn number(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}
