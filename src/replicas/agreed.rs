//! What all replicas have in common, which the first one stores in etcd.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;

use super::channel::ChannelKeys;
use crate::store::{
    StoreError,
    etcd::{Member, SharedKey, Worker},
};

/// The stored form of the key pair.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredKeys {
    #[serde(rename = "1")]
    V1 { pkcs8: String },
}

/// The stored form of the time for which a replica answers without contact with the
/// writer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum StoredHold {
    #[serde(rename = "1")]
    V1 { milliseconds: u64 },
}

/// The key pair with which the replicas recognize each other.
pub fn channel_keys(worker: &Worker, member: &Arc<Member>) -> Result<ChannelKeys, StoreError> {
    const NAME: &str = "the key pair of the replicas";
    let pair = ChannelKeys::generate().map_err(unusable(NAME))?;
    let own = StoredKeys::V1 {
        pkcs8: BASE64.encode(&pair),
    };
    let StoredKeys::V1 { pkcs8 } = agree(worker, member, SharedKey::Channel, NAME, &own)?;
    let pair = BASE64.decode(pkcs8.as_bytes()).map_err(unusable(NAME))?;
    ChannelKeys::from_pkcs8(&pair).map_err(unusable(NAME))
}

/// How long a replica answers without contact with the writer. A writer waits for as
/// long until it ends leases that others may have renewed, so all must use one value:
/// the stored one, whatever is configured here.
pub fn hold(
    worker: &Worker,
    member: &Arc<Member>,
    configured: Duration,
) -> Result<Duration, StoreError> {
    const NAME: &str = "the time `hold` of the replicas";
    let own = StoredHold::V1 {
        milliseconds: u64::try_from(configured.as_millis()).unwrap_or(u64::MAX),
    };
    let StoredHold::V1 { milliseconds } = agree(worker, member, SharedKey::Hold, NAME, &own)?;
    let agreed = Duration::from_millis(milliseconds);
    if agreed != configured {
        warn!(
            "`hold` in [etcd] is {}, and the replicas use {}, which is stored: to change it, stop \
             all replicas, remove the key {} from etcd, and start them with the new value",
            humantime::format_duration(configured),
            humantime::format_duration(agreed),
            member.key_name(SharedKey::Hold),
        );
    }
    Ok(agreed)
}

/// Stores the value, unless one is stored. Returns what is stored then.
fn agree<T: Serialize + DeserializeOwned>(
    worker: &Worker,
    member: &Arc<Member>,
    key: SharedKey,
    name: &'static str,
    own: &T,
) -> Result<T, StoreError> {
    let own = serde_json::to_vec(own).map_err(unusable(name))?;
    let asking = member.clone();
    let stored = worker
        .handle()
        .run(async move { asking.shared_value(key, own).await })
        .map_err(unusable(name))??;
    serde_json::from_slice(&stored.value).map_err(unusable(name))
}

/// The error that this cannot be used.
pub fn unusable<E: ToString>(name: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Unusable {
        path: name.into(),
        reason: error.to_string(),
    }
}
