//! Opens the store of a data directory.

use std::path::Path;

use tracing::warn;

use super::{
    LocalStore, database_in,
    directory::{Loaded, LockedDirectory},
};
use crate::{
    store::{
        Contents, SERIAL_MARGIN, Store as _, StoreError, Write, backup::RecoveredZone,
        sled::SledStore,
    },
    text::counted,
};

/// The purpose for which a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read or change it by a command.
    Tool,
    /// To serve: a damaged database is rebuilt if the backup is complete.
    Serve,
    /// Like `Serve`, and zones whose peers are in the backup, but not in the
    /// empty database, start empty.
    New,
}

impl LocalStore {
    /// Locks a data directory, and opens or creates its store.
    pub fn open(data: &Path, mode: OpenMode) -> Result<Self, StoreError> {
        let directory = LockedDirectory::lock(data)?;
        let opened = directory.open().and_then(|(mut database, mut loaded)| {
            directory.replay(&mut database, &mut loaded)?;
            Ok((database, loaded))
        });
        let opened = match (opened, mode) {
            (Ok(opened), _) => Ok(opened),
            (Err(error), OpenMode::Tool) => return Err(error),
            (Err(error @ StoreError::Corrupt { .. }), _) => Ok(rebuilt(&directory, error)?),
            (Err(error), _) => Err(error),
        };
        match opened {
            Ok((database, loaded)) if mode == OpenMode::Tool => {
                directory.join(database, loaded, &[])
            }
            Ok((mut database, loaded)) => {
                warn_of_problems(&directory);
                let lacking = directory.lacking(&mut database, &loaded)?;
                let (missing, idle): (Vec<_>, Vec<_>) =
                    lacking.into_iter().partition(RecoveredZone::may_name_peers);
                let mut store = if missing.is_empty() {
                    directory.join(database, loaded, &[])?
                } else if mode == OpenMode::New {
                    begin_anew(directory, database, loaded, missing)?
                } else {
                    return Err(lacks(data, &missing));
                };
                store.go_on_with_serials(&idle)?;
                Ok(store)
            }
            Err(error @ StoreError::Missing { .. }) => {
                let zones = directory.zones();
                if mode == OpenMode::New {
                    let database = directory.database()?;
                    begin_anew(directory, database, Loaded::new(), zones)
                } else if zones.is_empty() || zones.iter().any(RecoveredZone::may_name_peers) {
                    Err(error)
                } else {
                    // Nothing is lost except the serials.
                    let mut database = directory.database()?;
                    let filling = zones.iter();
                    let filling: Vec<_> = filling
                        .map(|zone| (&*zone.origin, &zone.contents))
                        .collect();
                    directory.fill(&mut database, directory.backup.last(), &filling)?;
                    directory.join(database, Loaded::new(), &[])
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Continues the serials of zones that have lost nothing else, since they had
    /// no peers.
    fn go_on_with_serials(&mut self, zones: &[RecoveredZone]) -> Result<(), StoreError> {
        let known = zones.iter().filter(|zone| zone.contents.serial > 0);
        let writes: Vec<Write> = known
            .map(|zone| Write::Serial {
                origin: zone.origin.as_str().into(),
                serial: zone.contents.serial,
            })
            .collect();
        if !writes.is_empty() {
            self.commit(&writes)?;
        }
        Ok(())
    }
}

fn warn_of_problems(directory: &LockedDirectory<'_>) {
    for problem in directory.backup.problems() {
        warn!("{problem}; nothing is lost, and new dumps will be taken");
    }
}

fn lacks(data: &Path, missing: &[RecoveredZone]) -> StoreError {
    let origins: Vec<&str> = missing.iter().map(|zone| &*zone.origin).collect();
    StoreError::Missing {
        path: database_in(data),
        reason: format!(
            "the dumps and the journal beside it name peers of {}",
            origins.join(", ")
        ),
    }
}

/// Rebuilds the database, if the backup has everything that was acknowledged.
fn rebuilt(
    directory: &LockedDirectory<'_>,
    error: StoreError,
) -> Result<(SledStore, Loaded), StoreError> {
    let StoreError::Corrupt { path, reason } = error else {
        return Err(error);
    };
    let zones = directory.zones();
    let lacking = if zones.is_empty() {
        Some("everything".to_owned())
    } else {
        zones.iter().find_map(|zone| {
            let missing = zone.missing.first()?;
            Some(format!("of {} {missing}", zone.origin))
        })
    };
    if let Some(lacking) = lacking {
        let reason = format!("{reason}; and the dumps and the journal beside it lack {lacking}");
        return Err(StoreError::Corrupt { path, reason });
    }
    let commit = directory.backup.last();
    let aside = directory.rebuild(&zones, commit)?;
    let peers = zones.iter().map(|zone| zone.contents.registrations.len());
    warn!(
        "{} was damaged ({reason}) and was rebuilt from the dumps and the journal with {} up to \
         commit {commit}: nothing was lost; the damaged database was moved to {}, which may be \
         removed",
        path.display(),
        counted(peers.sum(), "registration"),
        aside.display()
    );
    directory.open()
}

/// Starts zones without peers. Their serials continue, and their dumps are set
/// aside.
fn begin_anew(
    directory: LockedDirectory<'_>,
    mut database: SledStore,
    loaded: Loaded,
    mut zones: Vec<RecoveredZone>,
) -> Result<LocalStore, StoreError> {
    let commit = directory.next(&database);
    for zone in &mut zones {
        empty(&mut zone.contents, commit);
    }
    let filling: Vec<_> = zones
        .iter()
        .map(|zone| (&*zone.origin, &zone.contents))
        .collect();
    // Do this first: until it is done, the next start is refused like this one
    // was.
    directory.fill(&mut database, commit, &filling)?;
    let origins: Vec<&str> = filling.iter().map(|(origin, _)| *origin).collect();
    let store = directory.join(database, loaded, &origins)?;
    for RecoveredZone {
        origin, contents, ..
    } in &zones
    {
        let aside = store.dumps.set_aside(origin);
        if let Ok(Some(aside)) = &aside {
            warn!(
                "{origin} starts without peers; its dumps were moved to {}",
                aside.display()
            );
        }
        let dumped = aside.and_then(|_| store.dumps.write(origin, contents.clone()));
        if let Err(error) = dumped {
            warn!("cannot dump {origin}: {error}");
        }
    }
    Ok(store)
}

/// Removes the peers and pins.
fn empty(contents: &mut Contents, commit: u64) {
    *contents = Contents {
        serial: contents.serial + SERIAL_MARGIN,
        commit,
        changed: commit,
        ..Contents::default()
    };
}
