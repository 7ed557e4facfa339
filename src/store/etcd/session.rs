//! What all work of one store shares, and what ends the store for good.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{call_error::CallError, connection::Connection, keys::Keys};
use crate::{clock::Clock, store::StoreError};

/// A connection, the keys below its prefix, and how messages call them.
pub struct Session {
    pub connection: Connection,
    pub keys: Keys,
    /// `etcd://10.0.0.1:2379,10.0.0.2:2379`.
    pub name: String,
    pub clock: Clock,
}

impl Session {
    /// Why a commit has failed. A later one may succeed.
    pub fn unwritten(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Write {
            path: (&self.name).into(),
            reason: reason.into(),
        }
    }

    pub fn unreachable(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Unreachable {
            store: self.name.clone(),
            reason: reason.into(),
        }
    }

    pub fn deposed(&self, reason: impl Into<String>) -> StoreError {
        StoreError::LeadershipLost {
            store: self.name.clone(),
            reason: reason.into(),
        }
    }

    pub fn unreadable(&self, key: &[u8], reason: impl Into<String>) -> StoreError {
        StoreError::Unreadable {
            store: self.name.clone(),
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.into(),
        }
    }

    /// The error of a call: another cluster is no place for these registrations, and
    /// everything else may pass.
    pub fn failed(
        &self,
        error: CallError,
        other: impl FnOnce(&Self, String) -> StoreError,
    ) -> StoreError {
        match error {
            CallError::OtherCluster(found) => StoreError::OtherCluster {
                store: self.name.clone(),
                known: self.connection.cluster(),
                found,
            },
            error => other(self, error.to_string()),
        }
    }
}

/// The end of a term as the writer, which is reported once: the store is of no more use.
pub struct End(Mutex<Option<oneshot::Sender<StoreError>>>);

impl End {
    /// The second half receives the reason.
    pub fn new() -> (Self, oneshot::Receiver<StoreError>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Mutex::new(Some(sender))), receiver)
    }

    /// Reports an error if it is one that ends the store, and returns it.
    pub fn report(&self, error: StoreError) -> StoreError {
        let is_final = matches!(
            error,
            StoreError::LeadershipLost { .. }
                | StoreError::Behind { .. }
                | StoreError::OtherCluster { .. }
        );
        if is_final {
            let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sender) = sender.take() {
                // Nobody may be interested.
                let _ = sender.send(error.clone());
            }
        }
        error
    }
}
