//! Opens the store of a replica: its data directory, the first contact with etcd,
//! and the wait until it is elected.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::{
    EtcdStore, Shared,
    connection::{Access, CallError, Connection},
    election::{self, CALL, Campaign, Leadership, Replica},
    keys::Keys,
    session::{End, Session},
    values,
    wire::Range,
    witness::Seen,
    worker::Worker,
};
use crate::{
    clock::Clock,
    store::{
        ETCD_WITNESS, Identity, StoreError,
        dumps::Dumps,
        sled,
        witness::{self, Witness},
    },
};

/// How often a standby asks whether there is a writer: this and etcd's own delay
/// pass between the end of a lease and the next election.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// How long etcd may be unreachable at a start. A standby that has reached it once
/// waits for as long as it takes.
const FIRST_CONTACT: Duration = Duration::from_secs(10);

/// What a replica needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub access: Access,
    /// All keys are below it.
    pub prefix: String,
    /// How long the writer stays the writer without being heard.
    pub lease: Duration,
    /// What other replicas are told about this one.
    pub replica: Replica,
}

/// A replica that is not the writer yet.
pub struct Candidate {
    data: PathBuf,
    session: Arc<Session>,
    lease: Duration,
    replica: Replica,
    worker: Worker,
    dumps: Dumps,
    /// What the data directory has seen of etcd before.
    known: Option<Seen>,
    lock: File,
}

impl Candidate {
    /// Locks the data directory, which is created if it does not exist, and prepares
    /// the connection.
    pub fn new(data: &Path, settings: Settings) -> Result<Self, StoreError> {
        let lock = sled::lock(data)?;
        let unusable = |error: io::Error| StoreError::Unusable {
            path: data.to_owned(),
            reason: error.to_string(),
        };
        let dumps = Dumps::new(data, identity(data).map_err(unusable)?);
        let known = known(data, &dumps);
        let name = format!("etcd://{}", settings.access.members.join(","));
        let worker = Worker::start().map_err(unusable)?;
        let access = settings.access;
        let connection = worker.run(async move { Connection::new(&access) });
        let connection = connection.unwrap_or_else(|defect| Err(defect.to_string()));
        let connection = connection.map_err(|reason| StoreError::Unreachable {
            store: name.clone(),
            reason,
        })?;
        let session = Session {
            connection,
            keys: Keys::new(&settings.prefix),
            name,
            clock: Clock::start(),
        };
        Ok(Self {
            data: data.to_owned(),
            session: Arc::new(session),
            lease: settings.lease,
            replica: settings.replica,
            worker,
            dumps,
            known,
            lock,
        })
    }

    /// Waits until this replica is the writer. The wait ends when the future is
    /// dropped.
    pub async fn elected(self) -> Result<EtcdStore, StoreError> {
        let session = self.session.clone();
        let (replica, lease, known) = (self.replica.clone(), self.lease, self.known);
        let work = async move {
            check(&session, known, FIRST_CONTACT).await?;
            let leadership = stand_by(&session, &replica, lease).await?;
            // It may have changed meanwhile.
            let seen = check(&session, known, FIRST_CONTACT).await;
            resign_on_error(&session, &leadership, seen).await
        };
        let work = self.worker.start_work(work);
        let _abort = AbortOnDrop(work.abort_handle());
        let elected = work.await;
        let elected = elected.unwrap_or_else(|_| Err(self.session.unreachable(DEFECT)));
        let Elected { leadership, seen } = elected?;
        self.into_store(leadership, seen)
    }

    /// Becomes the writer at once, to fill an etcd that may have lost what this data
    /// directory has seen.
    ///
    /// # Errors
    ///
    /// Another replica is the writer.
    pub(super) fn elected_to_restore(self) -> Result<EtcdStore, StoreError> {
        let session = self.session.clone();
        let (replica, lease) = (self.replica.clone(), self.lease);
        let work = async move {
            check(&session, None, FIRST_CONTACT).await?;
            let campaign = election::campaign(&session, &replica, lease).await;
            match campaign.map_err(|it| session.failed(it, Session::unreachable))? {
                Campaign::Won(leadership) => {
                    let seen = check(&session, None, FIRST_CONTACT).await;
                    resign_on_error(&session, &leadership, seen).await
                }
                Campaign::Lost(holder) => Err(StoreError::Led {
                    store: session.name.clone(),
                    writer: described(holder.as_ref()),
                }),
            }
        };
        let elected = self.worker.run(work);
        let elected = elected.unwrap_or_else(|_| Err(self.session.unreachable(DEFECT)));
        let Elected { leadership, seen } = elected?;
        self.into_store(leadership, seen)
    }

    fn into_store(self, leadership: Leadership, seen: u64) -> Result<EtcdStore, StoreError> {
        let path = self.data.join(ETCD_WITNESS);
        let session = self.session;
        let witness = Witness::open(&path).map_err(|error| StoreError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        });
        let witness = match witness {
            Ok(witness) => witness,
            Err(error) => {
                let resigned = async move { election::resign(&session, &leadership).await };
                // The lease ends by itself if this fails.
                let _ = self.worker.run(resigned);
                return Err(error);
            }
        };
        let (end, ended) = End::new();
        let shared = Shared {
            session,
            leadership,
            witness,
            seen: AtomicU64::new(seen),
            end,
        };
        shared.see(seen);
        let shared = Arc::new(shared);
        let keeping = shared.clone();
        self.worker.start_work(async move {
            election::keep(&keeping.session, &keeping.leadership, &keeping.end).await;
        });
        Ok(EtcdStore {
            shared,
            worker: self.worker,
            dumps: self.dumps,
            ended: Some(ended),
            _lock: self.lock,
        })
    }
}

const DEFECT: &str = "a defect in the thread that talks to etcd";

/// A replica that was elected, and the last commit that etcd has.
struct Elected {
    leadership: Leadership,
    seen: u64,
}

/// The identity of the data directory, which its dumps carry.
fn identity(data: &Path) -> io::Result<Identity> {
    let path = data.join("identity");
    if let Some(identity) = Identity::read(&path)? {
        return Ok(identity);
    }
    let identity = match Dumps::network_in(data) {
        Some(identity) => identity,
        None => Identity::new()?,
    };
    identity.write(&path)?;
    Ok(identity)
}

/// What the data directory has seen: dumps are named by commits, too.
fn known(data: &Path, dumps: &Dumps) -> Option<Seen> {
    let seen: Seen = witness::read(&data.join(ETCD_WITNESS))?;
    Some(Seen {
        commit: seen.commit.max(dumps.highest()),
        ..seen
    })
}

/// The last commit that etcd has. Refuses an etcd that has less than is known, or is
/// another one.
async fn check(
    session: &Session,
    known: Option<Seen>,
    patience: Duration,
) -> Result<u64, StoreError> {
    let start = session.clock.now().0;
    let key = Range::key(session.keys.commit());
    let found = loop {
        match session.connection.ask(&key, CALL).await {
            Err(CallError::Unavailable(_))
                if u128::from(session.clock.now().0 - start) < patience.as_millis() =>
            {
                tokio::time::sleep(LOOK).await;
            }
            found => break found,
        }
    };
    let found = found.map_err(|error| session.failed(error, Session::unreachable))?;
    let commit = found.kvs.first().map_or(0, |key| key.mod_revision);
    let commit = values::number(commit);
    let Some(known) = known else {
        return Ok(commit);
    };
    let cluster = session.connection.cluster();
    let store = session.name.clone();
    if cluster != known.cluster {
        return Err(StoreError::OtherCluster {
            store,
            known: known.cluster,
            found: cluster,
        });
    }
    if commit < known.commit {
        return Err(StoreError::Behind {
            store,
            known: known.commit,
            found: commit,
        });
    }
    Ok(commit)
}

async fn resign_on_error(
    session: &Session,
    leadership: &Leadership,
    seen: Result<u64, StoreError>,
) -> Result<Elected, StoreError> {
    match seen {
        Ok(seen) => Ok(Elected {
            leadership: leadership.clone(),
            seen,
        }),
        Err(error) => {
            election::resign(session, leadership).await;
            Err(error)
        }
    }
}

/// Waits until there is no writer, and becomes it.
async fn stand_by(
    session: &Session,
    replica: &Replica,
    lease: Duration,
) -> Result<Leadership, StoreError> {
    let mut writer = None;
    let mut is_reachable = true;
    loop {
        match election::campaign(session, replica, lease).await {
            Ok(Campaign::Won(leadership)) => {
                info!("{} has elected this replica as the writer", session.name);
                return Ok(leadership);
            }
            Ok(Campaign::Lost(holder)) => {
                if !is_reachable {
                    info!("{} can be reached again", session.name);
                }
                is_reachable = true;
                if holder.is_some() && holder != writer {
                    info!(
                        "waiting as a standby: the writer of {} is {}",
                        session.name,
                        described(holder.as_ref())
                    );
                    writer = holder;
                }
            }
            Err(error @ (CallError::Unavailable(_) | CallError::NoSpace)) => {
                if is_reachable {
                    warn!("{}: {error}; the standby goes on waiting", session.name);
                }
                is_reachable = false;
            }
            // The next attempt logs in again.
            Err(CallError::Expired(_)) => {}
            Err(error) => return Err(session.failed(error, Session::unreachable)),
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn described(replica: Option<&Replica>) -> String {
    match replica {
        Some(Replica { name, address }) => format!("{name} ({address})"),
        None => "another replica".to_owned(),
    }
}

/// Ends work when whoever waits for it is gone.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
