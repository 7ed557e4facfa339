//! What an administrator has brought back.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    LocalStore,
    place::{Loaded, Place, Zone},
};
use crate::store::{Contents, Store as _, StoreError, chain::Restored};

/// How long the lock is waited for: a supervisor that starts the service again and
/// again has it for a moment each time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was brought back.
pub struct Report {
    pub zones: Vec<(String, Restored)>,
    /// Where the damaged database is.
    pub aside: Option<PathBuf>,
}

/// Why nothing was brought back. Nothing was changed.
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
    #[error("there are {peers} registrations of {origin} already")]
    NotEmpty { origin: String, peers: usize },
}

/// Brings back all that dumps and journal have of what the database lacks.
pub fn restore(data: &Path) -> Result<Report, RestoreError> {
    let place = locked(data)?;
    let mut aside = None;
    let (zones, database) = match place.open() {
        Ok((mut database, mut loaded)) => {
            let zones = place.lacking(&mut database, &loaded)?;
            if !zones.iter().any(|(_, zone)| zone.may_name_peers()) {
                return Err(RestoreError::NothingMissing(data.to_owned()));
            }
            readable(&place, &zones)?;
            place.replay(&mut database, &mut loaded)?;
            let commit = place.next(&database);
            place.fill(&mut database, commit, &contents_of(&zones))?;
            (zones, database)
        }
        Err(StoreError::Missing { .. }) => {
            let zones = place.zones();
            readable(&place, &zones)?;
            let mut database = place.database()?;
            // Where nothing is missing, the journal goes on from its end.
            let commit = match is_whole(&zones) {
                true => place.chain.last(),
                false => place.next(&database),
            };
            place.fill(&mut database, commit, &contents_of(&zones))?;
            (zones, database)
        }
        Err(StoreError::Corrupt { .. }) => {
            let zones = place.zones();
            readable(&place, &zones)?;
            let commit = match is_whole(&zones) {
                true => place.chain.last(),
                false => place.chain.last().max(place.chain.dumps().highest()) + 1,
            };
            aside = Some(place.rebuild(&zones, commit)?);
            (zones, place.database()?)
        }
        Err(error) => return Err(error.into()),
    };
    let commit = database.last_commit();
    let origins: Vec<&str> = zones.iter().map(|(origin, _)| &**origin).collect();
    let store = place.join(database, Loaded::new(), &origins)?;
    for (origin, zone) in &zones {
        dump(&store, origin, zone.contents.clone(), commit);
    }
    Ok(Report { zones, aside })
}

/// Fills a zone of which the store has nothing with what a file has.
pub fn restore_zone(data: &Path, origin: &str, mut contents: Contents) -> Result<(), RestoreError> {
    let place = locked(data)?;
    let mut database = match place.open() {
        Ok((mut database, mut loaded)) => {
            place.replay(&mut database, &mut loaded)?;
            database
        }
        // Other zones may still be missing then; a start looks at each.
        Err(StoreError::Missing { .. }) => place.database()?,
        Err(error) => return Err(error.into()),
    };
    let there = database.load(origin)?;
    if there.names_peers() {
        return Err(RestoreError::NotEmpty {
            origin: origin.to_owned(),
            peers: there.registrations.len() + there.pins.len(),
        });
    }
    let known = place.chain.zone(origin).contents.serial;
    contents.serial = contents.serial.max(known).max(there.serial);
    let commit = place.next(&database);
    // All or nothing.
    place.fill(&mut database, commit, &[(origin, &contents)])?;
    let store = place.join(database, Loaded::new(), &[origin])?;
    dump(&store, origin, contents, commit);
    Ok(())
}

fn contents_of(zones: &[Zone]) -> Vec<(&str, &Contents)> {
    let zones = zones.iter();
    zones
        .map(|(origin, zone)| (&**origin, &zone.contents))
        .collect()
}

/// The directory's lock.
fn locked(data: &Path) -> Result<Place<'_>, StoreError> {
    let start = Instant::now();
    loop {
        match Place::lock(data) {
            Err(StoreError::Locked { .. }) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            locked => return locked,
        }
    }
}

fn is_whole(zones: &[Zone]) -> bool {
    zones.iter().all(|(_, zone)| zone.is_whole())
}

/// Whether there is anything to bring back.
fn readable(place: &Place<'_>, zones: &[Zone]) -> Result<(), RestoreError> {
    let data = place.data.to_owned();
    if zones.is_empty() {
        return Err(RestoreError::NoBackup(data));
    }
    let names_peers = zones.iter().any(|(_, zone)| zone.contents.names_peers());
    if names_peers || is_whole(zones) {
        return Ok(());
    }
    let notes = zones
        .iter()
        .flat_map(|(_, zone)| zone.notes.iter().cloned());
    let problems = notes.chain(place.chain.problems()).collect();
    Err(RestoreError::Unreadable { data, problems })
}

/// Dumps a zone, if no dump has it yet. The service does it otherwise.
fn dump(store: &LocalStore, origin: &str, mut contents: Contents, commit: u64) {
    (contents.commit, contents.changed) = (commit, commit);
    let newest = store.dumps.of(origin).into_iter().next();
    if newest.is_none_or(|newest| newest.commit < commit)
        && let Err(error) = store.dumps.write(origin, contents)
    {
        warn!("cannot dump {origin}: {error}");
    }
}
