//! A registry that is running, alone or with other replicas.

use tokio::sync::oneshot;

#[cfg(feature = "etcd")]
use super::lost::with_restore_advice;
use crate::{
    commands::with_advice,
    registry::{Registry, StartError},
};
#[cfg(feature = "etcd")]
use crate::{replicas::Replicas, store::StoreError};

/// A registry that is running on a store.
pub struct Started {
    pub registry: Registry,
    /// Resolves when the thread of the registry has ended.
    pub ended: oneshot::Receiver<()>,
    pub sharing: Sharing,
}

/// Whether other replicas share the store.
pub enum Sharing {
    Alone,
    #[cfg(feature = "etcd")]
    Replicas {
        replicas: Box<Replicas>,
        failure: oneshot::Receiver<StoreError>,
        /// That of the keys in etcd.
        prefix: String,
    },
}

impl Sharing {
    /// Waits until the service must not go on with its store.
    pub async fn failed(&mut self) -> anyhow::Error {
        #[cfg(feature = "etcd")]
        if let Self::Replicas {
            failure, prefix, ..
        } = self
            && let Ok(error) = failure.await
        {
            return with_restore_advice(error, prefix);
        }
        // It can, or the service has ended.
        std::future::pending().await
    }

    /// Leaves the other replicas, after the last query has been answered.
    pub async fn stop(self) {
        match self {
            Self::Alone => {}
            #[cfg(feature = "etcd")]
            Self::Replicas { replicas, .. } => replicas.stop().await,
        }
    }
}

/// The error of a start, with advice.
pub fn start_error(error: StartError) -> anyhow::Error {
    match error {
        StartError::Store(error) => with_advice(error),
        error => error.into(),
    }
}
