//! Fills a zone from a dump, on behalf of an administrator.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    LOOK, Member, Settings, SoleStore,
    call_error::CallError,
    election::Leadership,
    packing::MARK,
    session::Session,
    wire::{Compare, Operation, Range, Txn, after_prefix},
};
use crate::store::{Contents, SERIAL_MARGIN, Store as _, StoreError, local::RestoreError};

/// How many writes go into one commit.
const PART: usize = 2_000;

/// How long to wait for the data directory and for the leader key.
const PATIENCE: Duration = Duration::from_secs(5);

/// Restores a zone from a dump. The prefix must have no peers of it, and there must
/// be no writer. From then on, the data directory belongs to this etcd.
///
/// A zone that is filled in part is marked as such: no service starts with it, and a
/// further restore begins anew.
pub fn restore_zone(
    data: &Path,
    settings: &Settings,
    origin: &str,
    contents: Contents,
) -> Result<(), RestoreError> {
    elected(data, settings)?.fill(origin, contents)?;
    Ok(())
}

/// Becomes the writer. A supervisor that restarts a service may hold the data
/// directory, or be the writer, for a moment.
fn elected(data: &Path, settings: &Settings) -> Result<SoleStore, StoreError> {
    let start = Instant::now();
    loop {
        match SoleStore::open(data, settings, "paramd restore") {
            Err(StoreError::Locked { .. } | StoreError::Led { .. })
                if start.elapsed() < PATIENCE =>
            {
                thread::sleep(LOOK);
            }
            elected => return elected,
        }
    }
}

impl SoleStore {
    fn fill(&mut self, origin: &str, contents: Contents) -> Result<(), RestoreError> {
        let zone = origin.to_owned();
        let leadership = self.store.leadership.clone();
        self.store.run(|member| async move {
            member.discard_part(&leadership, &zone).await?;
            member.settle(&leadership).await
        })?;
        let there = self.store.load(origin)?;
        if there.names_peers() {
            return Err(RestoreError::NotEmpty {
                origin: origin.to_owned(),
                peers: there.registrations.len() + there.pins.len(),
            });
        }
        let contents = Contents {
            serial: contents.serial.max(there.serial).max(self.unused(origin)),
            ..contents
        };
        // The serial, and then all others.
        let writes = contents.writes(origin);
        // No service starts while it is there.
        let mark = self.store.member.session.keys.restoring(origin);
        self.send(Operation::put(mark.clone(), MARK.to_vec(), 0))?;
        for part in writes.chunks(PART) {
            self.store.commit(&[part, &writes[..1]].concat())?;
        }
        self.send(Operation::delete(mark, Vec::new()))?;
        self.dump(origin)?;
        Ok(())
    }

    /// A serial that was not published by any service of which this data directory has a
    /// dump. An earlier restore of the same dump has left one.
    fn unused(&self, origin: &str) -> u64 {
        let newest = self.store.member.dumps().newest_sound(origin).sound;
        newest.map_or(0, |newest| newest.head.serial.saturating_add(SERIAL_MARGIN))
    }

    fn send(&self, operation: Operation) -> Result<(), StoreError> {
        let leadership = self.store.leadership.clone();
        self.store
            .run(|member| async move { member.send(&leadership, operation).await })
    }

    /// Dumps the zone. Dumps with higher numbers are of an etcd that is no more, and
    /// are set aside.
    fn dump(&mut self, origin: &str) -> Result<(), StoreError> {
        let contents = self.store.load(origin)?;
        let dumps = self.store.member.dumps();
        let newest = dumps.of(origin).into_iter().next();
        let is_later = newest.is_some_and(|newest| newest.commit >= contents.commit);
        let aside = if is_later {
            dumps.set_aside(origin).map(|_| ())
        } else {
            Ok(())
        };
        let dumped = aside.and_then(|()| dumps.write(origin, contents));
        if let Err(error) = dumped {
            warn!("cannot dump {origin}: {error}");
        }
        Ok(())
    }
}

impl Member {
    /// Removes what a restore that was broken off has left of a zone.
    async fn discard_part(&self, leadership: &Leadership, origin: &str) -> Result<(), StoreError> {
        let keys = &self.session.keys;
        let marked = self
            .session
            .ask(&Range::key(keys.restoring(origin)))
            .await?;
        if marked.kvs.is_empty() {
            return Ok(());
        }
        let zone = keys.zone(origin);
        let end = after_prefix(&zone);
        self.send(leadership, Operation::delete(zone, end)).await
    }

    async fn send(&self, leadership: &Leadership, operation: Operation) -> Result<(), StoreError> {
        let session = &self.session;
        let leader = session.keys.leader();
        let txn = Txn {
            compare: vec![Compare::created(leader, leadership.created)],
            success: vec![operation],
            failure: Vec::new(),
        };
        let answer = session.connection.call(txn, super::COMMIT).await;
        let failed = |error: CallError| session.failed(error, Session::unwritten);
        if answer.map_err(failed)?.succeeded {
            Ok(())
        } else {
            Err(session.deposed("another replica was elected"))
        }
    }
}
