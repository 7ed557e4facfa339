//! Opens the store of a data directory.

use std::path::{Path, PathBuf};

use tracing::warn;

use super::{
    Loaded, LocalStore, database_in,
    directory::{LockedDirectory, named_beside},
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
        let is_tool = mode == OpenMode::Tool;
        let (mut database, loaded) = match directory.open_and_replay() {
            Err(StoreError::Corrupt { path, reason }) if !is_tool => {
                rebuilt(&directory, path, reason)?
            }
            Err(error @ StoreError::Missing { .. }) if !is_tool => {
                return begin(directory, mode, error);
            }
            opened => opened?,
        };
        let mut lacking = Vec::new();
        if !is_tool {
            for problem in directory.backup.problems() {
                warn!("{problem}; nothing is lost, and new dumps will be taken");
            }
            lacking = directory.lacking(&mut database, &loaded)?;
        }
        let (missing, idle): (Vec<_>, Vec<_>) =
            lacking.into_iter().partition(RecoveredZone::may_name_peers);
        let mut store = if missing.is_empty() {
            directory.join(database, &[])?
        } else if mode == OpenMode::New {
            begin_anew(directory, database, missing)?
        } else {
            let path = database_in(data);
            let reason = named_beside(&missing);
            return Err(StoreError::Missing { path, reason });
        };
        store.loaded = loaded;
        store.go_on_with_serials(&idle)?;
        Ok(store)
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

/// Rebuilds the database, if the backup has everything that was acknowledged.
fn rebuilt(
    directory: &LockedDirectory<'_>,
    path: PathBuf,
    reason: String,
) -> Result<(SledStore, Loaded), StoreError> {
    let zones = directory.zones();
    let mut lacking = zones.iter().filter_map(|zone| {
        let missing = zone.missing.first()?;
        Some(format!("of {} {missing}", zone.origin))
    });
    let nothing = zones.is_empty().then(|| "everything".to_owned());
    if let Some(lacking) = nothing.or_else(|| lacking.next()) {
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

/// Starts without a database, if that loses nothing or is requested.
fn begin(
    directory: LockedDirectory<'_>,
    mode: OpenMode,
    error: StoreError,
) -> Result<LocalStore, StoreError> {
    let zones = directory.zones();
    let is_lost = zones.is_empty() || zones.iter().any(RecoveredZone::may_name_peers);
    if mode != OpenMode::New && is_lost {
        return Err(error);
    }
    let database = directory.database()?;
    if mode == OpenMode::New {
        return begin_anew(directory, database, zones);
    }
    // Nothing is lost except the serials.
    let commit = directory.backup.last();
    directory.fill(database, commit, &zones)
}

/// Starts zones without peers. Their serials continue, and their dumps are set
/// aside.
fn begin_anew(
    directory: LockedDirectory<'_>,
    database: SledStore,
    mut zones: Vec<RecoveredZone>,
) -> Result<LocalStore, StoreError> {
    for zone in &mut zones {
        zone.contents = Contents {
            serial: zone.contents.serial + SERIAL_MARGIN,
            ..Contents::default()
        };
    }
    // Do this first: until it is done, the next start is refused like this one
    // was.
    let commit = directory.next(database.last_commit());
    let store = directory.fill(database, commit, &zones)?;
    for zone in zones {
        let origin = zone.origin;
        match store.dumps.set_aside(&origin) {
            Ok(aside) => {
                if let Some(aside) = aside {
                    let aside = aside.display();
                    warn!("{origin} starts without peers; its dumps were moved to {aside}");
                }
                store.dump_filled(&origin, zone.contents);
            }
            Err(error) => warn!("cannot dump {origin}: {error}"),
        }
    }
    Ok(store)
}
