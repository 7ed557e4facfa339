//! A replica's access to etcd: its data directory, what it has seen of etcd, reading,
//! watching, and its elections.

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    call_error::CallError,
    commit,
    connection::{Access, CALL, Connection},
    election::{self, Campaign, Leadership, Replica},
    keys::Keys,
    load::{self, Listing},
    session::Session,
    values,
    watch::Watch,
    wire::{Compare, KeyValue, Operation, Range, Txn},
    witness::Seen,
    worker::Handle,
};
use crate::{
    clock::Clock,
    network::Time,
    store::{
        ETCD_WITNESS, Identity, StoreError,
        dumps::Dumps,
        sled,
        witness::{self, Witness},
    },
};

/// How often a replica asks whether there is a writer, if nothing else tells it.
pub const LOOK: Duration = Duration::from_millis(200);

/// How often everything is read in the middle of a commit, and how soon again.
const READS: u32 = 50;
const READ_AGAIN: Duration = Duration::from_millis(20);

/// How long etcd may be unreachable at a start.
const FIRST_CONTACT: Duration = Duration::from_secs(10);

/// What a replica needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub access: Access,
    /// All keys are below it.
    pub prefix: String,
    /// How long the writer stays the writer without being heard.
    pub lease: Duration,
}

/// A replica's access to etcd.
pub struct Member {
    pub(super) session: Session,
    pub(super) worker: Handle,
    lease: Duration,
    dumps: Dumps,
    identity: Identity,
    /// What the data directory had seen of etcd before.
    known: Option<Seen>,
    witness: Witness<Seen>,
    /// The last commit that was acknowledged or read.
    seen: AtomicU64,
    /// Whether the last attempt to be elected reached etcd, so that the log says once
    /// that one did not.
    is_reachable: AtomicBool,
    /// Held for as long as the replica runs, to exclude other processes.
    _lock: File,
}

impl Member {
    /// Locks the data directory, which is created if it does not exist, and prepares
    /// the connection.
    pub fn open(
        data: &Path,
        settings: &Settings,
        clock: Clock,
        worker: &Handle,
    ) -> Result<Self, StoreError> {
        let lock = sled::lock(data)?;
        let unusable = |error: io::Error| StoreError::Unusable {
            path: data.to_owned(),
            reason: error.to_string(),
        };
        let identity = identity(data).map_err(unusable)?;
        let dumps = Dumps::new(data, identity);
        let path = data.join(ETCD_WITNESS);
        let known = known(&path, &dumps);
        let witness = Witness::open(&path).map_err(unusable)?;
        let access = settings.access.clone();
        let name = format!("etcd://{}", access.members.join(","));
        let connection = worker.run(async move { Connection::new(&access) });
        let connection = connection.unwrap_or_else(|ended| Err(ended.to_string()));
        let connection = connection.map_err(|reason| StoreError::Unreachable {
            store: name.clone(),
            reason,
        })?;
        Ok(Self {
            session: Session {
                connection,
                keys: Keys::new(&settings.prefix),
                name,
                clock,
            },
            worker: worker.clone(),
            lease: settings.lease,
            dumps,
            identity,
            known,
            witness,
            seen: AtomicU64::new(0),
            is_reachable: AtomicBool::new(true),
            _lock: lock,
        })
    }

    /// The dumps of the data directory.
    pub fn dumps(&self) -> &Dumps {
        &self.dumps
    }

    /// The identity of the data directory, which no other running replica has.
    pub fn identity(&self) -> String {
        self.identity.to_string()
    }

    /// `etcd://10.0.0.1:2379,10.0.0.2:2379`.
    pub fn name(&self) -> &str {
        &self.session.name
    }

    /// Waits until etcd answers, whatever it has.
    pub(super) async fn begin(&self) -> Result<u64, StoreError> {
        let commit = self.check(None, FIRST_CONTACT).await?;
        self.see(commit);
        Ok(commit)
    }

    /// The last commit. Refuses an etcd that has less than is known, or is another one.
    pub async fn last_commit(&self) -> Result<u64, StoreError> {
        let cluster = self.session.connection.cluster();
        let commit = self.seen.load(Ordering::Acquire);
        self.check(Some(Seen { cluster, commit }), CALL).await
    }

    async fn check(&self, known: Option<Seen>, patience: Duration) -> Result<u64, StoreError> {
        let session = &self.session;
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

    /// Notes a commit that was acknowledged or read.
    pub fn see(&self, commit: u64) {
        if self.seen.fetch_max(commit, Ordering::AcqRel) < commit {
            self.witness.note(&Seen {
                cluster: self.session.connection.cluster(),
                commit,
            });
        }
    }

    /// The last commit that was acknowledged or read.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Everything that is stored, as of one revision.
    pub async fn read(&self) -> Result<Listing, StoreError> {
        for _ in 0..READS {
            if let Some(listing) = load::all(&self.session).await? {
                self.see(listing.stored.commit);
                return Ok(listing);
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
        let reason = "a commit is stored in part, and its writer does not store the rest";
        Err(self.session.unreachable(reason))
    }

    /// Everything that is stored, at a start: as of this data directory, or later.
    pub async fn read_first(&self) -> Result<Listing, StoreError> {
        self.check(self.known, FIRST_CONTACT).await?;
        let replica = Replica {
            name: "a replica that is starting".to_owned(),
            ..Replica::default()
        };
        let limit = self.session.clock.now() + self.lease + FIRST_CONTACT;
        loop {
            match self.read().await {
                Err(StoreError::Unreachable { .. }) if self.session.clock.now() < limit => {}
                done => return done,
            }
            // Nobody may be there to end a commit that a lost writer has left open.
            if let Campaign::Won(leadership) = self.campaign(&replica).await? {
                let settled = self.settle(&leadership).await;
                self.resign(&leadership).await;
                settled?;
            }
        }
    }

    /// A watch of everything that is stored after a revision.
    pub fn watch_after(&self, revision: i64) -> Watch<'_> {
        Watch::after(&self.session, revision)
    }

    /// Tries to be elected. An etcd that cannot be reached is logged once, and counts as
    /// one that has another writer.
    pub async fn campaign(&self, replica: &Replica) -> Result<Campaign, StoreError> {
        let session = &self.session;
        let campaign = election::campaign(session, replica, self.lease).await;
        let is_reachable = match &campaign {
            Ok(_) => true,
            Err(CallError::Unavailable(_) | CallError::NoSpace) => false,
            // The next attempt logs in again.
            Err(CallError::Expired(_) | CallError::NotFound(_)) => {
                return Ok(Campaign::Lost(None));
            }
            Err(error) => return Err(session.failed(error.clone(), Session::unreachable)),
        };
        let was_reachable = self.is_reachable.swap(is_reachable, Ordering::Relaxed);
        match campaign {
            Ok(campaign) => {
                if !was_reachable {
                    info!("{} can be reached again", session.name);
                }
                Ok(campaign)
            }
            Err(error) => {
                if was_reachable {
                    warn!(
                        "{}: {error}; known peers are answered for as long as `hold` says",
                        session.name
                    );
                }
                Ok(Campaign::Lost(None))
            }
        }
    }

    /// Makes what the writer before has stored of a commit a whole one.
    pub async fn settle(&self, leadership: &Leadership) -> Result<(), StoreError> {
        commit::settle(&self.session, leadership).await
    }

    /// Extends the lease of the writer until it ends, which it returns. `held` is called
    /// with each time at which this replica was the writer for certain.
    pub async fn keep(&self, leadership: &Leadership, held: impl Fn(Time)) -> StoreError {
        election::keep(&self.session, leadership, held).await
    }

    /// Gives the leadership up, so that another replica is elected at once. If this
    /// fails, the lease ends by itself.
    pub async fn resign(&self, leadership: &Leadership) {
        election::resign(&self.session, leadership).await;
    }

    fn shared_key(&self, key: SharedKey) -> Vec<u8> {
        let keys = &self.session.keys;
        match key {
            SharedKey::Channel => keys.channel(),
            SharedKey::Cookies => keys.cookies(),
            SharedKey::Hold => keys.hold(),
        }
    }

    /// The name of such a key in etcd.
    pub fn key_name(&self, key: SharedKey) -> String {
        String::from_utf8_lossy(&self.shared_key(key)).into_owned()
    }

    /// The value of a key that all replicas share. The first one creates it.
    pub async fn shared_value(&self, key: SharedKey, own: Vec<u8>) -> Result<KeyValue, StoreError> {
        let session = &self.session;
        let key = self.shared_key(key);
        let read = Operation::range(Range::key(key.clone()));
        let txn = Txn {
            compare: vec![Compare::created(key.clone(), 0)],
            success: vec![Operation::put(key, own, 0), read.clone()],
            failure: vec![read],
        };
        // A repetition finds what the first one has created.
        let answer = session.ask(&txn).await?;
        let found = answer
            .ranges()
            .find_map(|range| range.kvs.into_iter().next());
        found.ok_or_else(|| session.unreachable("it has not stored a key"))
    }

    /// Replaces such a value, and returns whether it was still the one that was read.
    pub async fn replace_shared(&self, old: &KeyValue, value: Vec<u8>) -> Result<bool, StoreError> {
        let session = &self.session;
        let txn = Txn {
            compare: vec![Compare::modified(old.key.clone(), old.mod_revision)],
            success: vec![Operation::put(old.key.clone(), value, 0)],
            failure: Vec::new(),
        };
        let answer = session.connection.call(txn, CALL).await;
        let answer = answer.map_err(|error| session.failed(error, Session::unwritten));
        answer.map(|answer| answer.succeeded)
    }
}

/// A key with a value that all replicas share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedKey {
    /// The key pair with which the replicas recognize each other.
    Channel,
    /// The secrets of cookies.
    Cookies,
    /// How long a replica answers without contact with the writer.
    Hold,
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
fn known(witness: &Path, dumps: &Dumps) -> Option<Seen> {
    let seen: Seen = witness::read(witness)?;
    Some(Seen {
        commit: seen.commit.max(dumps.highest()),
        ..seen
    })
}
