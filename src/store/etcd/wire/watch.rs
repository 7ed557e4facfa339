//! The messages of a watch.

use prost::Message;

use super::{Answer, Header, KeyValue, after_prefix};

/// A message to etcd on the stream of a watch: one of these.
#[derive(Clone, PartialEq, Message)]
pub struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub create: Option<WatchCreate>,
    /// Asks for a message, which shows that the stream is alive.
    #[prost(message, optional, tag = "3")]
    pub progress: Option<()>,
}

/// Watches the keys from `key` up to `range_end`, exclusive.
#[derive(Clone, PartialEq, Message)]
pub struct WatchCreate {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// The first revision whose events are sent.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
}

/// A message from etcd on that stream. The events of one revision are in one message.
#[derive(Clone, PartialEq, Message)]
pub struct WatchAnswer {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// If not 0, events before this revision were compacted away.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}

impl Answer for WatchAnswer {
    fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// 0 for a put, 1 for a deletion.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
}

impl WatchRequest {
    pub const PATH: &'static str = "/etcdserverpb.Watch/Watch";

    pub fn create(prefix: Vec<u8>, start_revision: i64) -> Self {
        let create = Some(WatchCreate {
            range_end: after_prefix(&prefix),
            key: prefix,
            start_revision,
        });
        Self {
            create,
            progress: None,
        }
    }

    pub fn progress() -> Self {
        Self {
            create: None,
            progress: Some(()),
        }
    }
}

impl Event {
    pub fn is_deletion(&self) -> bool {
        self.kind == 1
    }
}
