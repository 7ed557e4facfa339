//! The election of the writer: who creates the leader key is the writer, for as long
//! as its lease lasts.
//!
//! The lease makes room for another writer; it does not keep an earlier one from
//! writing, which may have been suspended and may not know. So every transaction
//! compares the key's create revision, which no later holder of the key shares.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{
    call_error::CallError,
    connection::CALL,
    session::Session,
    wire::{
        Compare, KeyValue, LeaseGrant, LeaseKeepAlive, LeaseRevoke, Operation, Range, RangeAnswer,
        Txn, revision,
    },
};
use crate::{network::Time, store::StoreError};

/// How often the lease is looked at.
const TICK: Duration = Duration::from_millis(200);

/// The longest time between two extensions of the lease. They keep etcd from taking
/// the probes of the connection for an attack.
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// How soon an extension that failed is repeated.
const RETRY: Duration = Duration::from_millis(500);

/// Who the writer is, as the leader key says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    pub name: String,
    /// Where it answers DNS.
    pub address: String,
    /// Where it answers other replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<SocketAddr>,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// The form of the leader key's value.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    #[serde(rename = "1")]
    V1(Replica),
}

impl Replica {
    fn to_value(&self) -> Vec<u8> {
        serde_json::to_vec(&Stored::V1(self.clone())).unwrap_or_default()
    }

    /// A key that cannot be read was written by another release.
    pub fn of(key: &KeyValue) -> Self {
        match serde_json::from_slice(&key.value) {
            Ok(Stored::V1(replica)) => replica,
            Err(_) => Self {
                name: "a replica of another release".to_owned(),
                address: "unknown address".to_owned(),
                channel: None,
            },
        }
    }
}

/// What became of an attempt to be elected.
pub enum Campaign {
    Won(Leadership),
    /// Another replica is the writer; `None` if it left in that moment.
    Lost(Option<Replica>),
}

/// The right to write.
#[derive(Debug, Clone)]
pub struct Leadership {
    lease: i64,
    /// The create revision of the leader key.
    pub created: i64,
    /// By the session's clock, in milliseconds: when the lease has surely ended if it
    /// is not extended.
    ends: Arc<AtomicU64>,
    /// When this replica was elected, or earlier.
    pub elected: Time,
    /// Until when it lasts for certain.
    lasts: Arc<AtomicU64>,
    /// How long it lasts from an extension.
    length: Duration,
}

impl Leadership {
    /// Whether this replica is the writer at this time for certain.
    pub fn is_held(&self, now: Time) -> bool {
        now.0 < self.lasts.load(Ordering::Acquire)
    }
}

/// Tries to be elected.
pub async fn campaign(
    session: &Session,
    replica: &Replica,
    lease: Duration,
) -> Result<Campaign, CallError> {
    let connection = &session.connection;
    let key = session.keys.leader();
    let found = connection.ask(&Range::key(key.clone()), CALL).await?;
    if let Some(holder) = found.kvs.first() {
        return Ok(Campaign::Lost(Some(Replica::of(holder))));
    }
    let ttl = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
    let start = session.clock.now();
    let granted = connection.call(LeaseGrant { ttl }, CALL).await?;
    let ends = end_of(session, granted.ttl);
    let lasts = certain_end(start, granted.ttl);
    let put = Operation::put(key.clone(), replica.to_value(), granted.id);
    let txn = Txn {
        compare: vec![Compare::created(key.clone(), 0)],
        success: vec![put],
        failure: vec![Operation::range(Range::key(key))],
    };
    let elected = connection.call(txn, CALL).await;
    match elected {
        Ok(answer) if answer.succeeded => Ok(Campaign::Won(Leadership {
            lease: granted.id,
            created: revision(&answer),
            ends: Arc::new(AtomicU64::new(ends)),
            elected: start,
            lasts: Arc::new(AtomicU64::new(lasts.0)),
            length: seconds(granted.ttl),
        })),
        elected => {
            // If this fails, too, the lease ends by itself.
            let _ = connection.call(LeaseRevoke { id: granted.id }, CALL).await;
            let holder = elected?.ranges().next();
            let holder = holder.and_then(|found: RangeAnswer| found.kvs.first().map(Replica::of));
            Ok(Campaign::Lost(holder))
        }
    }
}

/// Extends the lease until it ends, and returns how it did. `held` is called with each
/// time at which this replica was the writer for certain.
pub async fn keep(session: &Session, leadership: &Leadership, held: impl Fn(Time)) -> StoreError {
    let interval = (leadership.length / 3).min(MAX_INTERVAL);
    let patience = CALL.min(leadership.length / 4);
    let now = || session.clock.now().0;
    // At once, since the election may have taken long.
    let mut due = now();
    loop {
        tokio::time::sleep(TICK).await;
        let start = now();
        if start >= leadership.ends.load(Ordering::Acquire) {
            let length = humantime::format_duration(leadership.length);
            let reason = format!("etcd has not extended the lease for {length}");
            return session.deposed(reason);
        }
        if start < due {
            continue;
        }
        let call = LeaseKeepAlive {
            id: leadership.lease,
        };
        match session.connection.keep_alive(call, patience).await {
            Ok(answer) if answer.ttl > 0 => {
                let ends = end_of(session, answer.ttl);
                leadership.ends.store(ends, Ordering::Release);
                let lasts = certain_end(Time(start), answer.ttl);
                leadership.lasts.fetch_max(lasts.0, Ordering::AcqRel);
                held(Time(start));
                due = start + millis(interval);
            }
            Ok(_) | Err(CallError::NotFound(_)) => {
                return session.deposed("its lease has ended");
            }
            Err(error @ CallError::OtherCluster(_)) => {
                return session.failed(error, Session::deposed);
            }
            Err(error) => {
                debug!("the lease is not extended: {error}");
                due = now() + millis(RETRY);
            }
        }
    }
}

/// Gives the leadership up, so that another replica is elected at once. If this
/// fails, the lease ends by itself.
pub async fn resign(session: &Session, leadership: &Leadership) {
    let id = leadership.lease;
    let _ = session.connection.ask(&LeaseRevoke { id }, CALL).await;
}

/// When a lease that was extended before this moment has surely ended. The time of
/// the answer counts: etcd may have extended it just before.
fn end_of(session: &Session, ttl: i64) -> u64 {
    session.clock.now().0 + millis(seconds(ttl))
}

/// Until when a lease lasts for certain that was extended after this moment. The clock of
/// etcd may be faster than this one.
fn certain_end(start: Time, ttl: i64) -> Time {
    let length = seconds(ttl);
    start + (length - length / 100)
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 1)
}
