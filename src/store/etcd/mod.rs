//! A store in etcd, 3.4 or later: every replica of the service can reach it, one of
//! them writes, and the others stand by.
//!
//! Writes come in, transactions of etcd go out, which keep these rules:
//!
//! * Only the writer stores anything: every transaction compares the create revision
//!   of the leader key, which no two writers share (`election`, `commit`).
//! * A commit is acknowledged when etcd has acknowledged all of its transactions.
//!   Its number is the revision of the last one; revisions only rise. What was stored
//!   of a commit that failed is written again by the caller.
//! * A data directory keeps what it has seen of etcd (`witness`). An etcd that has
//!   less is refused.
//!
//! | file | contents |
//! | --- | --- |
//! | `opening` | the data directory, the first contact, and the wait of a standby |
//! | `election` | the leader key and its lease |
//! | `commit`, `packing` | from writes to transactions |
//! | `load` | reads a zone |
//! | `restore` | fills a zone from a dump |
//! | `keys`, `values` | the layout in etcd |
//! | `connection`, `wire` | calls, and their messages |
//! | `session`, `worker` | what all work shares, and the thread that does it |
//! | `witness` | what was seen of etcd |

mod commit;
mod connection;
mod election;
mod keys;
mod load;
mod opening;
mod packing;
mod restore;
mod session;
mod values;
mod wire;
mod witness;
mod worker;

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;
use tracing::warn;

use self::{
    election::Leadership,
    session::{End, Session},
    witness::Seen,
    worker::Worker,
};
use super::{Contents, Store, StoreError, Write, dumps::Dumps, witness::Witness};

pub use self::{
    commit::COMMIT,
    connection::{Access, Login, OwnCertificate, Tls},
    election::Replica,
    opening::{Candidate, Settings},
    restore::restore_zone,
};

/// The store of the replica that was elected.
pub struct EtcdStore {
    shared: Arc<Shared>,
    worker: Worker,
    dumps: Dumps,
    /// Receives why the store has ended.
    ended: Option<oneshot::Receiver<StoreError>>,
    /// Held for as long as the store is open, to exclude other processes.
    _lock: File,
}

/// What the work on behalf of the store uses.
struct Shared {
    session: Arc<Session>,
    leadership: Leadership,
    witness: Witness<Seen>,
    /// The last commit that was acknowledged or read.
    seen: AtomicU64,
    end: End,
}

impl EtcdStore {
    /// The dumps of the data directory.
    pub fn dumps(&self) -> &Dumps {
        &self.dumps
    }

    /// Receives why the store has ended, if it does: the leadership is lost, or etcd
    /// lacks what it had. The process must end, too. `None` when it was taken before.
    pub fn ended(&mut self) -> Option<oneshot::Receiver<StoreError>> {
        self.ended.take()
    }

    fn run<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let session = &self.shared.session;
        let done = self.worker.run(work(self.shared.clone()));
        let done = done.unwrap_or_else(|defect| Err(session.unwritten(defect.to_string())));
        done.map_err(|error| self.shared.end.report(error))
    }
}

impl Shared {
    /// Notes a commit that was acknowledged or read.
    fn see(&self, commit: u64) {
        self.seen.store(commit, Ordering::Release);
        self.witness.note(&Seen {
            cluster: self.session.connection.cluster(),
            commit,
        });
    }

    async fn commit(&self, writes: &[Write]) -> Result<u64, StoreError> {
        let seen = self.seen.load(Ordering::Acquire);
        let number = commit::commit(&self.session, &self.leadership, writes, seen).await?;
        self.see(number);
        Ok(number)
    }

    async fn load(&self, origin: &str) -> Result<Contents, StoreError> {
        let mut loaded = load::load(&self.session, origin).await?;
        if !loaded.replaced.is_empty() {
            for it in &loaded.replaced {
                warn!(
                    "{origin} {} was moved from {}{} by a commit that was stored in part: the \
                     earlier registration is removed",
                    it.host, it.sequence, it.number
                );
            }
            let deletions = loaded.replaced.into_iter().map(|it| Write::Delete {
                origin: origin.into(),
                host: it.host,
                sequence: it.sequence,
                number: it.number,
            });
            let deletions: Vec<Write> = deletions.collect();
            loaded.contents.commit = self.commit(&deletions).await?;
            loaded.contents.changed = loaded.contents.commit;
        }
        let seen = self.seen.load(Ordering::Acquire);
        if loaded.contents.commit > seen {
            self.see(loaded.contents.commit);
        }
        Ok(loaded.contents)
    }
}

impl Store for EtcdStore {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        let origin = origin.to_owned();
        self.run(|shared| async move { shared.load(&origin).await })
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        self.run(|shared| async move {
            let origins = load::origins(&shared.session).await;
            origins.map_err(|error| shared.session.failed(error, Session::unreachable))
        })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let writes = writes.to_vec();
        self.run(|shared| async move { shared.commit(&writes).await })
    }
}

impl Drop for EtcdStore {
    /// Gives the leadership up, so that a standby is elected at once.
    fn drop(&mut self) {
        let shared = self.shared.clone();
        // The lease ends by itself if this fails.
        let _ = self.worker.run(async move {
            election::resign(&shared.session, &shared.leadership).await;
        });
    }
}
