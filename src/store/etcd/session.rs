//! What all work of one store shares.

use super::{
    call_error::CallError,
    connection::{CALL, Connection},
    keys::Keys,
    wire::Call,
};
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
    /// Asks one member after the other until one answers. Only for calls that change
    /// nothing, or may be repeated.
    pub async fn ask<C: Call>(&self, call: &C) -> Result<C::Response, StoreError> {
        let answer = self.connection.ask(call, CALL).await;
        answer.map_err(|error| self.failed(error, Self::unreachable))
    }

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
