//! What the writer knows of the heartbeats that other replicas answer.
//!
//! A replica renews leases by itself and reports them afterwards. The writer must end no
//! lease that a replica may have renewed and not reported yet. Each report is
//! acknowledged, and proves that the replica has reported everything up to the
//! acknowledgement before. So the writer knows all heartbeats up to the earliest of these
//! times, and no lease ends that was running then ([`Network::set_heard_until`]).
//!
//! An acknowledgement also allows the replica to renew leases for some more time, which
//! counts from when the replica sent its report ([`Vouching`]). A replica that falls
//! silent is forgotten when that time has surely passed. The writer cannot know what the
//! replica has renewed until then, so every lease is extended by one lease. The same
//! holds after an election, for the replicas of the earlier writer.
//!
//! All times are those of the writer's clock; the clock of a replica may run slower or
//! faster by up to one part in [`DRIFT`].
//!
//! [`Network::set_heard_until`]: crate::network::Network::set_heard_until

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::info;

use crate::network::Time;

/// How much the clocks of two machines may differ in speed: one part in a hundred.
pub const DRIFT: u32 = 100;

/// Until when this service may renew leases and answer for it.
#[derive(Debug)]
pub struct Vouching(AtomicU64);

impl Vouching {
    /// A service without replicas, which always may.
    pub fn always() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// A replica, which may not before a writer has allowed it.
    pub fn not_yet() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Allows it until that time.
    pub fn extend(&self, until: Time) {
        self.0.fetch_max(until.0, Ordering::AcqRel);
    }

    pub fn is_valid(&self, now: Time) -> bool {
        now.0 < self.0.load(Ordering::Acquire)
    }
}

/// What the writer knows of the other replicas.
#[derive(Debug)]
pub struct Coverage {
    /// How long a replica may renew leases after a report.
    hold: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    replicas: BTreeMap<String, Replica>,
    /// When the replicas of an earlier writer have stopped to renew leases; `None` after
    /// that.
    others: Option<Others>,
    /// Every lease is extended by one lease from this time.
    heard_since: Time,
}

#[derive(Debug)]
struct Others {
    elected: Time,
    until: Time,
}

#[derive(Debug)]
struct Replica {
    /// Which run of the replica's process this is.
    run: u64,
    name: String,
    connection: u64,
    /// Everything that it has renewed before this time was reported.
    heard_until: Time,
    /// When the last report was acknowledged.
    acknowledged: Time,
    /// The last commit that it had when it reported.
    commit: u64,
    /// It renews no leases after this time.
    vouches_until: Time,
}

/// The replica that reports.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The identity of its data directory.
    pub identity: &'a str,
    pub name: &'a str,
    /// Which run of its process this is.
    pub run: u64,
    /// Which of the connections of all replicas it uses: a later one has a higher number.
    pub connection: u64,
    /// The last commit that it has.
    pub commit: u64,
}

/// The replica has a later connection.
#[derive(Debug, thiserror::Error)]
#[error("the replica has another connection")]
pub struct Superseded;

/// Until when, and since when, all heartbeats are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub until: Time,
    pub since: Time,
}

impl Coverage {
    /// The knowledge of a writer that was elected at this time.
    pub fn new(hold: Duration, elected: Time) -> Self {
        let others = Others {
            elected,
            until: surely_after(elected, hold),
        };
        Self {
            hold,
            state: Mutex::new(State {
                replicas: BTreeMap::new(),
                others: Some(others),
                heard_since: elected,
            }),
        }
    }

    /// Notes a report, everything in which has been noted in the leases before. The
    /// caller acknowledges it. Returns when the report before was acknowledged.
    ///
    /// The first report of a connection covers nothing new: an earlier one may have been
    /// received without the replica knowing.
    pub fn report(&self, from: &Reporter<'_>, now: Time) -> Result<Option<Time>, Superseded> {
        let Reporter {
            identity,
            name,
            run,
            connection,
            commit,
        } = *from;
        let mut state = self.locked();
        let vouches_until = surely_after(now, self.hold);
        let known = state.replicas.get_mut(identity);
        let Some(replica) = known.filter(|replica| replica.run == run) else {
            info!("the replica {name} has joined");
            let replica = Replica {
                run,
                name: name.to_owned(),
                connection,
                heard_until: now,
                acknowledged: now,
                commit,
                vouches_until,
            };
            let earlier = state.replicas.insert(identity.to_owned(), replica);
            if earlier.is_some() {
                // An earlier run of it may have renewed leases right before it ended.
                state.heard_since = now;
            }
            return Ok(None);
        };
        if connection < replica.connection {
            return Err(Superseded);
        }
        let before = replica.acknowledged;
        if connection == replica.connection {
            replica.heard_until = before;
        }
        replica.connection = connection;
        replica.acknowledged = now;
        replica.commit = commit;
        replica.vouches_until = vouches_until;
        Ok(Some(before))
    }

    /// Notes the last commit that a replica has.
    pub fn confirm(&self, identity: &str, run: u64, commit: u64) {
        let mut state = self.locked();
        let replica = state.replicas.get_mut(identity);
        if let Some(replica) = replica.filter(|replica| replica.run == run) {
            replica.commit = replica.commit.max(commit);
        }
    }

    /// Notes that a replica has heard nobody for some time, since it stood still.
    pub fn stood_still(&self, now: Time) {
        self.locked().heard_since = now;
    }

    /// Notes that a replica has ended, after it has reported everything.
    pub fn leave(&self, identity: &str, run: u64) {
        let mut state = self.locked();
        let replicas = &mut state.replicas;
        if replicas.get(identity).is_some_and(|it| it.run == run)
            && let Some(replica) = replicas.remove(identity)
        {
            info!("the replica {} has left", replica.name);
        }
    }

    /// What is known at this time.
    pub fn heard(&self, now: Time) -> Heard {
        let mut state = self.locked();
        let mut since = state.heard_since;
        state.replicas.retain(|_, replica| {
            let may_renew = now < replica.vouches_until;
            if !may_renew {
                info!(
                    "the replica {} is silent: every lease is extended by one lease",
                    replica.name
                );
                since = now;
            }
            may_renew
        });
        let mut until = now;
        if let Some(others) = &state.others {
            if now < others.until {
                until = until.min(others.elected);
            } else {
                since = since.max(others.until);
                state.others = None;
            }
        }
        let replicas = state.replicas.values().map(|replica| replica.heard_until);
        let until = replicas.min().map_or(until, |replicas| replicas.min(until));
        state.heard_since = state.heard_since.max(since);
        let since = state.heard_since;
        Heard { until, since }
    }

    /// The last commit that every replica has which may answer for leases; `None` if
    /// there is no such replica, 0 if there may be unknown ones.
    pub fn confirmed(&self, now: Time) -> Option<u64> {
        // Forgets those that are silent.
        self.heard(now);
        let state = self.locked();
        if state.others.is_some() {
            return Some(0);
        }
        let replicas = state.replicas.values();
        replicas.map(|replica| replica.commit).min()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a time span has surely passed on every clock.
fn surely_after(start: Time, span: Duration) -> Time {
    start + span + span / DRIFT + Duration::from_millis(100)
}
