//! A store in etcd, 3.4 or later, which all replicas of the service share: one of them
//! writes, and the others follow.
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
//! | `member` | the data directory, reading, and elections of a replica |
//! | `election` | the leader key and its lease |
//! | `commit`, `packing` | from writes to transactions |
//! | `load`, `watch`, `reading` | everything that is stored, and each commit |
//! | `restore`, `look` | for commands: fills a zone from a dump, and reads all zones |
//! | `keys`, `values` | the layout in etcd |
//! | `connection`, `call_error`, `wire` | calls, how they fail, and their messages |
//! | `session`, `worker` | what all work shares, and the thread that does it |
//! | `witness` | what was seen of etcd |

mod call_error;
mod commit;
mod connection;
mod election;
mod keys;
mod load;
mod look;
mod member;
mod packing;
mod reading;
mod restore;
mod session;
mod values;
mod watch;
mod wire;
mod witness;
mod worker;

use std::{path::Path, sync::Arc};

use tokio::sync::mpsc;

use super::{Contents, Store, StoreError, Write, replication::Ended};
use crate::clock::Clock;

pub use self::{
    commit::COMMIT,
    connection::{Access, Login, OwnCertificate, Tls},
    election::{Campaign, Leadership, Replica},
    load::Listing,
    look::look,
    member::{LOOK, Member, Settings, SharedKey},
    restore::restore_zone,
    watch::{Seen, Watch, WatchEnd},
    wire::KeyValue,
    worker::{Handle, Worker},
};

/// The store of the replica that was elected.
pub struct EtcdStore {
    member: Arc<Member>,
    leadership: Leadership,
    /// The first error after which this is of no more use.
    end: mpsc::Sender<StoreError>,
}

/// A store without other replicas, for a restore. Its leadership ends with it.
pub struct SoleStore {
    pub store: EtcdStore,
    _worker: Worker,
}

impl EtcdStore {
    /// The store of a replica that has just been elected. The receiver gets the reason if
    /// this ends: the leadership is lost, or etcd lacks what it had.
    pub fn new(member: Arc<Member>, leadership: Leadership) -> (Self, mpsc::Receiver<StoreError>) {
        let (end, ended) = mpsc::channel(1);
        let store = Self {
            member,
            leadership,
            end,
        };
        (store, ended)
    }

    fn run<T, F>(&self, work: impl FnOnce(Arc<Member>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let done = self.member.worker.run(work(self.member.clone()));
        let session = &self.member.session;
        let done = done.unwrap_or_else(|ended| Err(session.unwritten(ended.to_string())));
        done.inspect_err(|error| {
            if let StoreError::LeadershipLost { .. }
            | StoreError::Behind { .. }
            | StoreError::OtherCluster { .. } = error
            {
                // It is full when one was reported before.
                let _ = self.end.try_send(error.clone());
            }
        })
    }
}

impl Store for EtcdStore {
    fn load(&mut self, origin: &str) -> Result<Contents, StoreError> {
        let origin = origin.to_owned();
        self.run(|member| async move {
            let mut stored = load::zone(&member.session, &origin).await?;
            let zone = stored.zones.remove(&origin).unwrap_or_default();
            member.see(stored.commit);
            Ok(reading::contents(stored.commit, zone))
        })
    }

    fn origins(&mut self) -> Result<Vec<String>, StoreError> {
        self.run(|member| async move {
            let zones = load::zones(&member.session).await?.zones.into_iter();
            let named = zones.filter(|(_, zone)| zone.names_peers());
            Ok(named.map(|(origin, _)| origin).collect())
        })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        self.commit_with_leases(writes, &[])
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn commit_with_leases(&mut self, writes: &[Write], ended: &[Ended]) -> Result<u64, StoreError> {
        let (writes, ended) = (writes.to_vec(), ended.to_vec());
        let leadership = self.leadership.clone();
        self.run(|member| async move {
            let (session, seen) = (&member.session, member.seen());
            let number = commit::commit(session, &leadership, &writes, &ended, seen).await?;
            member.see(number);
            Ok(number)
        })
    }
}

impl SoleStore {
    /// Becomes the writer at once, even of an etcd that may have lost what this data
    /// directory has seen.
    ///
    /// # Errors
    ///
    /// Another replica is the writer.
    pub fn open(data: &Path, settings: &Settings, name: &str) -> Result<Self, StoreError> {
        let worker = Worker::start().map_err(|error| StoreError::Unusable {
            path: data.to_owned(),
            reason: error.to_string(),
        })?;
        let member = Member::open(data, settings, Clock::start(), worker.handle())?;
        let member = Arc::new(member);
        let replica = Replica {
            name: name.to_owned(),
            ..Replica::default()
        };
        let elected = {
            let member = member.clone();
            worker.handle().run(async move {
                member.begin().await?;
                match member.campaign(&replica).await? {
                    Campaign::Won(leadership) => Ok(leadership),
                    Campaign::Lost(holder) => Err(StoreError::Led {
                        store: member.name().to_owned(),
                        writer: holder.map_or("another replica".into(), |it| it.to_string()),
                    }),
                }
            })
        };
        let elected = elected.unwrap_or_else(|it| Err(member.session.unreachable(it.to_string())));
        let leadership = elected?;
        let keeping = (member.clone(), leadership.clone());
        worker.handle().spawn(async move {
            let (member, leadership) = keeping;
            member.keep(&leadership, |_| {}).await;
        });
        let (store, _) = EtcdStore::new(member, leadership);
        Ok(Self {
            store,
            _worker: worker,
        })
    }
}

impl Drop for SoleStore {
    fn drop(&mut self) {
        let member = self.store.member.clone();
        let leadership = self.store.leadership.clone();
        let resigned = async move { member.resign(&leadership).await };
        // The lease ends by itself if this fails.
        let _ = self.store.member.worker.run(resigned);
    }
}
