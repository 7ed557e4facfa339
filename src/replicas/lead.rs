//! What the writer does: it keeps its lease in etcd, serves the other replicas, and
//! renews the secrets that all share.

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::{End, Shared, SharedCookies, Term, link::stopped};
use crate::{
    registry::{Coverage, Event},
    store::{
        StoreError,
        etcd::{EtcdStore, KeyValue, Leadership, Member, SharedKey},
    },
};

/// How often the age of the shared cookie secret is checked.
const ROTATION_CHECK: Duration = Duration::from_secs(600);

/// How often the writer looks whether etcd has all commits, if it has none to store.
const STORE_CHECK: Duration = Duration::from_secs(5);

impl Shared {
    /// Leads until the leadership is lost. Returns the revision of the last commit that
    /// the registry has published.
    pub(super) async fn lead(
        &self,
        leadership: Leadership,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<i64, End> {
        let coverage = Arc::new(Coverage::new(self.hold, self.clock.now()));
        let (store, mut ended) = EtcdStore::new(self.member.clone(), leadership.clone());
        self.notify(Event::Elected {
            store: Box::new(store),
            coverage: coverage.clone(),
        })
        .await?;
        let term = Term {
            coverage,
            leadership: leadership.clone(),
        };
        self.term.send_replace(Some(term));
        let vouching = self.registry.vouching();
        let held = |at| vouching.extend(at + self.hold);
        held(leadership.elected);
        let reason = tokio::select! {
            error = self.member.keep(&leadership, held) => Some(error),
            error = ended.recv() => error,
            error = self.check_store() => Some(error),
            () = self.rotate_cookies() => None,
            () = stopped(stop) => None,
        };
        self.term.send_replace(None);
        let (published, commit) = oneshot::channel();
        let deposed = self.notify(Event::Deposed(published)).await;
        let commit = commit.await;
        match reason {
            // The service stops.
            None => {
                self.member.resign(&leadership).await;
                return Err(End::Stopped);
            }
            Some(error @ (StoreError::Behind { .. } | StoreError::OtherCluster { .. })) => {
                return Err(End::Failed(error));
            }
            Some(error) => warn!("{error}; known peers are answered for as long as `hold` says"),
        }
        deposed?;
        let commit = commit.map_err(|_| End::Stopped)?;
        Ok(i64::try_from(commit).unwrap_or(i64::MAX))
    }

    /// Waits until etcd is found to lack what it had: it was restored under the service.
    async fn check_store(&self) -> StoreError {
        loop {
            tokio::time::sleep(STORE_CHECK).await;
            match self.member.last_commit().await {
                Ok(_) | Err(StoreError::Unreachable { .. }) => {}
                Err(error) => return error,
            }
        }
    }

    /// Replaces the shared secret of cookies whenever it is due. Never ends.
    async fn rotate_cookies(&self) {
        let Some(shared) = &self.cookies else {
            return std::future::pending().await;
        };
        loop {
            shared.rotate(&self.member).await;
            tokio::time::sleep(ROTATION_CHECK).await;
        }
    }
}

impl SharedCookies {
    /// Takes over what is stored.
    pub(super) fn take(&self, value: &KeyValue) {
        self.0.replace(&String::from_utf8_lossy(&value.value));
    }

    /// Takes over what is stored now, and returns it.
    pub(super) async fn read(&self, member: &Member) -> Result<KeyValue, StoreError> {
        let own = self.0.text().into_bytes();
        let stored = member.shared_value(SharedKey::Cookies, own).await?;
        self.take(&stored);
        Ok(stored)
    }

    async fn rotate(&self, member: &Member) {
        if let Err(error) = self.replace_if_due(member).await {
            warn!("the secret of cookies cannot be replaced: {error}");
        }
    }

    async fn replace_if_due(&self, member: &Member) -> Result<(), StoreError> {
        if self.0.next_text().is_none() {
            return Ok(());
        }
        // Whoever was the writer before may have replaced it.
        let stored = self.read(member).await?;
        let Some(next) = self.0.next_text() else {
            return Ok(());
        };
        let value = next.clone().into_bytes();
        if member.replace_shared(&stored, value).await? {
            self.0.replace(&next);
            info!("the secret of cookies was replaced");
        }
        Ok(())
    }
}
