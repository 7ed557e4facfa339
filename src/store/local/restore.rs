//! Restores a store on behalf of an administrator.

use std::{
    path::{Path, PathBuf},
    slice, thread,
    time::{Duration, Instant},
};

use super::{LocalStore, directory::LockedDirectory};
use crate::{
    store::{Contents, Store as _, StoreError, backup::RecoveredZone},
    text::counted,
};

/// How long to wait for the lock: a supervisor that keeps restarting the service
/// holds it for a moment each time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was restored.
pub struct Report {
    pub zones: Vec<RecoveredZone>,
    /// The path of the damaged database.
    pub aside: Option<PathBuf>,
}

/// Why nothing was restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("nothing is missing in {}: it has everything that the dumps and the journal have", .0.display())]
    NothingMissing(PathBuf),
    #[error("there are neither dumps nor a journal in {}", .0.display())]
    NoBackup(PathBuf),
    #[error("no dump and no journal in {} can be read: {}", data.display(), problems.join("; "))]
    Unreadable {
        data: PathBuf,
        problems: Vec<String>,
    },
    #[error("{origin} already has {}", counted(*peers, "registration"))]
    NotEmpty { origin: String, peers: usize },
}

/// Restores everything from the backup that the database lacks.
pub fn restore(data: &Path) -> Result<Report, RestoreError> {
    let directory = locked(data)?;
    let mut aside = None;
    let (zones, store) = match directory.open() {
        Ok((mut database, mut loaded)) => {
            let zones = directory.lacking(&mut database, &loaded)?;
            if !zones.iter().any(RecoveredZone::may_name_peers) {
                return Err(RestoreError::NothingMissing(data.to_owned()));
            }
            readable(&directory, &zones)?;
            directory.replay(&mut database, &mut loaded)?;
            let commit = directory.next(database.last_commit());
            let store = directory.fill(database, commit, &zones)?;
            (zones, store)
        }
        Err(error @ (StoreError::Missing { .. } | StoreError::Corrupt { .. })) => {
            let zones = directory.zones();
            readable(&directory, &zones)?;
            // If nothing is missing, the journal is continued at its end.
            let commit = if is_whole(&zones) {
                directory.backup.last()
            } else {
                directory.next(0)
            };
            let store = if let StoreError::Missing { .. } = error {
                let database = directory.database()?;
                directory.fill(database, commit, &zones)?
            } else {
                aside = Some(directory.rebuild(&zones, commit)?);
                let database = directory.database()?;
                directory.join(database, &zones)?
            };
            (zones, store)
        }
        Err(error) => return Err(error.into()),
    };
    for zone in &zones {
        dump(&store, zone);
    }
    Ok(Report { zones, aside })
}

/// Restores a zone from a dump. The store must have no peers of it.
pub fn restore_zone(data: &Path, origin: &str, contents: Contents) -> Result<(), RestoreError> {
    let directory = locked(data)?;
    let mut database = match directory.open_and_replay() {
        // Other zones may still be missing; the next start checks each of them.
        Err(StoreError::Missing { .. }) => directory.database()?,
        opened => opened?.0,
    };
    let there = database.load(origin)?;
    if there.names_peers() {
        return Err(RestoreError::NotEmpty {
            origin: origin.to_owned(),
            peers: there.registrations.len() + there.pins.len(),
        });
    }
    let mut zone = directory.backup.zone(origin);
    let known = zone.contents.serial.max(there.serial);
    zone.contents = contents;
    zone.contents.serial = zone.contents.serial.max(known);
    let commit = directory.next(database.last_commit());
    // One commit: all or nothing.
    let store = directory.fill(database, commit, slice::from_ref(&zone))?;
    dump(&store, &zone);
    Ok(())
}

/// Locks the directory.
fn locked(data: &Path) -> Result<LockedDirectory<'_>, StoreError> {
    let start = Instant::now();
    loop {
        match LockedDirectory::lock(data) {
            Err(StoreError::Locked { .. }) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            locked => return locked,
        }
    }
}

fn is_whole(zones: &[RecoveredZone]) -> bool {
    zones.iter().all(RecoveredZone::is_whole)
}

/// Fails if there is nothing to restore.
fn readable(directory: &LockedDirectory<'_>, zones: &[RecoveredZone]) -> Result<(), RestoreError> {
    let data = directory.data.to_owned();
    if zones.is_empty() {
        return Err(RestoreError::NoBackup(data));
    }
    let names_peers = zones.iter().any(|zone| zone.contents.names_peers());
    if names_peers || is_whole(zones) {
        return Ok(());
    }
    let notes = zones.iter().flat_map(|zone| zone.notes.iter().cloned());
    let problems = notes.chain(directory.backup.problems()).collect();
    Err(RestoreError::Unreadable { data, problems })
}

/// Dumps a zone, unless a dump includes the commit.
fn dump(store: &LocalStore, zone: &RecoveredZone) {
    let newest = store.dumps.of(&zone.origin).into_iter().next();
    if newest.is_none_or(|newest| newest.commit < store.database.last_commit()) {
        store.dump_filled(&zone.origin, zone.contents.clone());
    }
}
