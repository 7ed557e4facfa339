//! A data directory before its store is opened.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{Loaded, LocalStore, WITNESS, acknowledged_in, database_in, identity_in, identity_of};
use crate::store::{
    Identity, Store as _, StoreError, Write,
    backup::{Backup, Changes, RecoveredZone},
    files,
    journal::{self, Head, Journal},
    sled::{self, SledStore},
    unusable,
    witness::Witness,
};

/// How often a database is rebuilt. If it is damaged again and again, the disk is
/// at fault, and another copy only fills it.
const MAX_REBUILDS: usize = 5;

/// A data directory that is locked by this process.
pub struct LockedDirectory<'d> {
    pub data: &'d Path,
    pub backup: Backup,
    lock: File,
    network: Identity,
}

impl<'d> LockedDirectory<'d> {
    /// Locks the directory, which is created if it does not exist, and reads its
    /// backup.
    pub fn lock(data: &'d Path) -> Result<Self, StoreError> {
        let lock = sled::lock(data)?;
        finish(data).map_err(unusable(data))?;
        let network = identity_of(data).map_err(unusable(data))?;
        let backup = Backup::read(data, network, acknowledged_in(data));
        Ok(Self {
            data,
            backup: backup.map_err(unusable(data))?,
            lock,
            network,
        })
    }

    /// Opens or creates the database. Returns it with the contents of each zone
    /// that has peers.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if the database cannot be read or lacks
    /// acknowledged commits, [`StoreError::Missing`] if there is none, but dumps,
    /// journal or witness show that there was one, [`StoreError::Foreign`] if it
    /// belongs to another data directory.
    pub fn open(&self) -> Result<(SledStore, Loaded), StoreError> {
        let mut database = self.database()?;
        let mut loaded = Loaded::new();
        for origin in database.origins()? {
            let contents = database.load(&origin)?;
            loaded.insert(origin, contents);
        }
        self.check(&database, loaded.is_empty())?;
        Ok((database, loaded))
    }

    /// Like [`open`](Self::open), and applies the commit that the journal has and the
    /// database lacks.
    pub fn open_and_replay(&self) -> Result<(SledStore, Loaded), StoreError> {
        let (mut database, mut loaded) = self.open()?;
        self.replay(&mut database, &mut loaded)?;
        Ok((database, loaded))
    }

    /// Opens or creates the database.
    pub fn database(&self) -> Result<SledStore, StoreError> {
        let path = database_in(self.data);
        let database = self.database_at(&path)?;
        self.identify(self.data).map_err(unusable(&path))?;
        match Identity::read(&identity_in(&path)).map_err(unusable(&path))? {
            Some(identity) if identity == self.network => Ok(database),
            // It has just been created, or comes from an earlier release without
            // a journal.
            None if database.last_commit() == 0 || self.backup.journaled() == 0 => Ok(database),
            _ => Err(StoreError::Foreign { path }),
        }
    }

    fn database_at(&self, path: &Path) -> Result<SledStore, StoreError> {
        let lock = self.lock.try_clone().map_err(unusable(path))?;
        SledStore::open_at(path.to_owned(), lock)
    }

    /// Marks the database as that of this directory, before anything is written
    /// to it.
    fn claim(&self) -> Result<(), StoreError> {
        let path = database_in(self.data);
        self.identify(&path).map_err(unusable(&path))
    }

    /// Writes the identity to a directory that has none.
    fn identify(&self, directory: &Path) -> io::Result<()> {
        let path = identity_in(directory);
        match Identity::read(&path)? {
            Some(_) => Ok(()),
            None => self.network.write(&path),
        }
    }

    /// Checks that the database has everything that was acknowledged.
    fn check(&self, database: &SledStore, is_empty: bool) -> Result<(), StoreError> {
        let (stored, path) = (database.last_commit(), database_in(self.data));
        let acknowledged = self.backup.acknowledged;
        // At most one commit was written but not acknowledged when the process
        // ended.
        let further = self.backup.records_after(stored).count();
        if acknowledged <= stored && further <= 1 {
            return Ok(());
        }
        let last = self.backup.last();
        // An empty database that has been in use is damaged.
        let is_used = matches!(Identity::read(&identity_in(&path)), Ok(Some(_)));
        if stored > 0 || !is_empty || is_used {
            let reason =
                format!("it ends with commit {stored}, but commit {last} was acknowledged");
            return Err(StoreError::Corrupt { path, reason });
        }
        let mut zones = self.zones();
        zones.retain(|zone| zone.contents.names_peers());
        let reason = if zones.is_empty() {
            format!("commits up to {last} were acknowledged, of which there is no backup")
        } else {
            named_beside(&zones)
        };
        Err(StoreError::Missing { path, reason })
    }

    /// All zones in the backup.
    pub fn zones(&self) -> Vec<RecoveredZone> {
        let origins = self.backup.origins().into_iter();
        origins.map(|origin| self.backup.zone(&origin)).collect()
    }

    /// The zones in the backup of which the database has nothing at all. It has
    /// never served them: the first commit about a zone reserves serials, which
    /// remain when the last peer is gone.
    pub fn lacking(
        &self,
        database: &mut SledStore,
        loaded: &Loaded,
    ) -> Result<Vec<RecoveredZone>, StoreError> {
        let mut lacking = Vec::new();
        for origin in self.backup.origins() {
            if loaded.contains_key(&origin) {
                continue;
            }
            let stored = database.load(&origin)?;
            if stored.serial == 0 && !stored.names_peers() {
                lacking.push(self.backup.zone(&origin));
            }
        }
        Ok(lacking)
    }

    /// The number of a commit that is not in the journal: higher than every one
    /// before. `stored` is the last commit of the database.
    pub fn next(&self, stored: u64) -> u64 {
        let highest = self.backup.dumps.highest();
        self.backup.last().max(highest).max(stored) + 1
    }

    /// Applies the commit that the journal has and the database lacks.
    pub fn replay(&self, database: &mut SledStore, loaded: &mut Loaded) -> Result<(), StoreError> {
        let further: Vec<_> = self.backup.records_after(database.last_commit()).collect();
        self.claim()?;
        for record in further {
            database.commit_as(record.number, &record.writes)?;
            for write in &record.writes {
                loaded.remove(&**write.origin());
            }
        }
        Ok(())
    }

    /// Sets the database aside and creates a new one with these zones, as of this
    /// commit. Returns the path of the old one.
    pub fn rebuild(&self, zones: &[RecoveredZone], commit: u64) -> Result<PathBuf, StoreError> {
        let unusable = unusable(self.data);
        let path = database_in(self.data);
        let (aside, number) = files::next_free(&self.data.join("peers.sled.damaged"));
        if number > MAX_REBUILDS {
            let reason = format!(
                "it was damaged and rebuilt {MAX_REBUILDS} times, so the disk is probably faulty: \
                 check it, and remove {} and the other damaged databases",
                self.data.join("peers.sled.damaged-1").display()
            );
            return Err(StoreError::Unusable { path, reason });
        }
        let unfinished = self.data.join(UNFINISHED);
        let mut database = self.database_at(&unfinished)?;
        database.commit_as(commit, &writes(zones))?;
        let identity = self.network.write(&identity_in(&unfinished));
        identity.map_err(&unusable)?;
        drop(database);
        // From now on, a start that finds no database uses this one.
        let finished = self.data.join(FINISHED);
        fs::rename(&unfinished, &finished).map_err(&unusable)?;
        files::sync_directory(self.data).map_err(&unusable)?;
        fs::rename(&path, &aside).map_err(&unusable)?;
        fs::rename(&finished, &path).map_err(&unusable)?;
        files::sync_directory(self.data).map_err(&unusable)?;
        Ok(aside)
    }

    /// Writes zones that the database lacks, in one commit, and returns the store.
    /// The journal does not have that commit, so the caller must dump the zones.
    pub fn fill(
        self,
        mut database: SledStore,
        commit: u64,
        zones: &[RecoveredZone],
    ) -> Result<LocalStore, StoreError> {
        self.claim()?;
        database.commit_as(commit, &writes(zones))?;
        self.join(database, zones)
    }

    /// Opens the journal, and returns the store. The journal continues after the
    /// last commit of the database, which wrote the zones in `filled` if the
    /// journal does not have it.
    pub fn join(
        self,
        database: SledStore,
        filled: &[RecoveredZone],
    ) -> Result<LocalStore, StoreError> {
        self.claim()?;
        let data = self.data;
        let stored = database.last_commit();
        let directory = journal::directory(data);
        let is_known = self.backup.acknowledged <= self.backup.journaled();
        let mut changes = self.backup.changes();
        let journal = match self.backup.end() {
            Some((path, segment, head)) if head.after == stored => {
                Journal::resume(path, head, segment)
            }
            Some((_, _, mut head)) if is_known && !filled.is_empty() => {
                head.after = stored;
                for zone in filled {
                    head.zones.insert(zone.origin.clone(), stored);
                    changes.zones.insert(zone.origin.clone(), stored);
                }
                Journal::begin(&directory, head)
            }
            // The journal lacks the changes before this commit.
            _ => {
                changes = Changes {
                    others: stored,
                    ..Changes::default()
                };
                Journal::begin(&directory, Head::new(self.network, stored))
            }
        };
        let witness = data.join(WITNESS);
        Ok(LocalStore {
            data: data.to_owned(),
            journal: journal.map_err(unusable(&directory))?,
            witness: Witness::open(&witness).map_err(unusable(&witness))?,
            last: self.next(stored) - 1,
            database,
            dumps: self.backup.dumps.clone(),
            loaded: Loaded::new(),
            changes,
        })
    }
}

/// The writes that create these zones.
fn writes(zones: &[RecoveredZone]) -> Vec<Write> {
    let zones = zones.iter();
    zones
        .flat_map(|zone| zone.contents.writes(&zone.origin))
        .collect()
}

/// Says that zones are missing.
pub fn named_beside(zones: &[RecoveredZone]) -> String {
    let origins: Vec<&str> = zones.iter().map(|zone| &*zone.origin).collect();
    let origins = origins.join(", ");
    format!("the dumps and the journal beside it name peers of {origins}")
}

/// Folders of a database that is being rebuilt.
const UNFINISHED: &str = "peers.rebuilding";
const FINISHED: &str = "peers.rebuilt";

/// Completes an interrupted rebuild.
fn finish(data: &Path) -> io::Result<()> {
    let (path, finished) = (database_in(data), data.join(FINISHED));
    if finished.is_dir() {
        if path.exists() {
            // The old one was not set aside yet: it will be checked again.
            fs::remove_dir_all(&finished)?;
        } else {
            fs::rename(&finished, &path)?;
            files::sync_directory(data)?;
        }
    }
    let unfinished = data.join(UNFINISHED);
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished)?;
    }
    Ok(())
}
