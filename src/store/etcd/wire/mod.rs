//! The messages of etcd's API, version 3: the calls and the fields that this store
//! uses.
//!
//! They are written here by hand, after `rpc.proto` and `kv.proto` of etcd 3.4, since
//! crates that generate them need `protoc` for their build. A field that is missing
//! here is skipped when a message is read.

mod watch;

use prost::Message;

pub use self::watch::{WatchAnswer, WatchRequest};

/// A call of etcd: a request with its path and its response.
pub trait Call: Message + Clone + Default + 'static {
    type Response: Message + Default + Answer + 'static;
    const PATH: &'static str;
}

/// A response of etcd.
pub trait Answer {
    fn header(&self) -> Option<&Header>;
}

/// States which call a request belongs to.
macro_rules! call {
    ($request:ty => $response:ty, $path:literal) => {
        impl Call for $request {
            type Response = $response;
            const PATH: &'static str = $path;
        }

        impl Answer for $response {
            fn header(&self) -> Option<&Header> {
                self.header.as_ref()
            }
        }
    };
}

call!(Range => RangeAnswer, "/etcdserverpb.KV/Range");
call!(Txn => TxnAnswer, "/etcdserverpb.KV/Txn");
call!(LeaseGrant => LeaseGrantAnswer, "/etcdserverpb.Lease/LeaseGrant");
call!(LeaseRevoke => LeaseRevokeAnswer, "/etcdserverpb.Lease/LeaseRevoke");
call!(LeaseKeepAlive => LeaseKeepAliveAnswer, "/etcdserverpb.Lease/LeaseKeepAlive");
call!(Authenticate => AuthenticateAnswer, "/etcdserverpb.Auth/Authenticate");

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// Reads the keys from `key` up to `range_end`, exclusive; `key` alone if that is
/// empty.
#[derive(Clone, PartialEq, Message)]
pub struct Range {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// 0 for the newest.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub more: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Put {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub lease: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteRange {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
}

/// One of these.
#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    #[prost(message, optional, tag = "1")]
    pub range: Option<Range>,
    #[prost(message, optional, tag = "2")]
    pub put: Option<Put>,
    #[prost(message, optional, tag = "3")]
    pub delete: Option<DeleteRange>,
}

/// What the answer to a put or a deletion says is not needed.
#[derive(Clone, PartialEq, Message)]
pub struct OperationAnswer {
    #[prost(message, optional, tag = "1")]
    pub range: Option<RangeAnswer>,
}

/// A condition of a transaction. The result that is asked for is always equality,
/// which is the protocol's zero.
#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    /// 1 for the create revision, 2 for the mod revision.
    #[prost(int32, tag = "2")]
    pub target: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// One of the two; 0 is not the same as none.
    #[prost(int64, optional, tag = "5")]
    pub create_revision: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    pub mod_revision: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Txn {
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<Operation>,
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TxnAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<OperationAnswer>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseGrant {
    /// In seconds.
    #[prost(int64, tag = "1")]
    pub ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseGrantAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// In seconds; etcd may grant more than it was asked for.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseRevoke {
    #[prost(int64, tag = "1")]
    pub id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseRevokeAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseKeepAlive {
    #[prost(int64, tag = "1")]
    pub id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseKeepAliveAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    /// In seconds; 0 if the lease has ended.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Authenticate {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub password: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AuthenticateAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(string, tag = "2")]
    pub token: String,
}

impl Range {
    pub fn key(key: Vec<u8>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// At most `limit` of the keys that start with the prefix.
    pub fn prefix(prefix: Vec<u8>, limit: i64) -> Self {
        Self {
            range_end: after_prefix(&prefix),
            key: prefix,
            limit,
            ..Self::default()
        }
    }
}

impl Compare {
    /// The key was created at this revision; it does not exist if that is 0.
    pub fn created(key: Vec<u8>, revision: i64) -> Self {
        Self {
            target: 1,
            key,
            create_revision: Some(revision),
            mod_revision: None,
        }
    }

    /// The key was last written at this revision; it does not exist if that is 0.
    pub fn modified(key: Vec<u8>, revision: i64) -> Self {
        Self {
            target: 2,
            key,
            create_revision: None,
            mod_revision: Some(revision),
        }
    }
}

impl Operation {
    pub fn range(range: Range) -> Self {
        Self {
            range: Some(range),
            ..Self::default()
        }
    }

    /// Writes a key, under a lease if that is not 0.
    pub fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> Self {
        Self {
            put: Some(Put { key, value, lease }),
            ..Self::default()
        }
    }

    /// Removes the keys from `key` up to `range_end`, exclusive; `key` alone if that is
    /// empty.
    pub fn delete(key: Vec<u8>, range_end: Vec<u8>) -> Self {
        Self {
            delete: Some(DeleteRange { key, range_end }),
            ..Self::default()
        }
    }
}

impl TxnAnswer {
    /// The answers to the reads of the transaction, in order.
    pub fn ranges(self) -> impl Iterator<Item = RangeAnswer> {
        self.responses.into_iter().filter_map(|answer| answer.range)
    }
}

/// The first key after all that start with the prefix, which ends with an ASCII
/// character.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// The revision of an answer; 0 if it has no header, which none should lack.
pub fn revision(answer: &impl Answer) -> i64 {
    answer.header().map_or(0, |header| header.revision)
}
