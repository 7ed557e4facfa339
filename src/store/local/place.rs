//! A data directory before its store is opened.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{LocalStore, WITNESS, acknowledged_in, database_in, identity_in, identity_of};
use crate::store::{
    Contents, Identity, Store as _, StoreError, Write,
    chain::{Chain, Restored},
    files,
    journal::{self, Head, Journal},
    sled::{self, SledStore},
    witness::Witness,
};

/// How often a database is set aside and made anew. Where it is damaged again and
/// again the disk is at fault, which another one does not mend but fills.
const MOST_REBUILT: usize = 5;

/// A zone that is brought back, with its origin.
pub type Zone = (String, Restored);

/// What is stored of every zone that was read, by origin.
pub type Loaded = BTreeMap<String, Contents>;

/// A data directory that this process has locked.
pub struct Place<'d> {
    pub data: &'d Path,
    pub chain: Chain,
    lock: File,
    network: Identity,
}

impl<'d> Place<'d> {
    /// Locks the directory, which is made where there is none, and reads dumps and
    /// journal.
    pub fn lock(data: &'d Path) -> Result<Self, StoreError> {
        let lock = sled::lock(data)?;
        let unusable = |error: io::Error| unusable(data, &error);
        finish(data).map_err(unusable)?;
        let network = match identity_of(data).map_err(unusable)? {
            Some(known) => known,
            None => Identity::new().map_err(unusable)?,
        };
        let chain = Chain::read(data, network, acknowledged_in(data)).map_err(unusable)?;
        Ok(Self {
            data,
            chain,
            lock,
            network,
        })
    }

    /// Opens the database, or makes it; gives also what is stored of each zone that
    /// has peers.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] where the database cannot be read or lacks what was
    /// acknowledged, [`StoreError::Missing`] where there is none and dumps, journal
    /// or witness tell of one, [`StoreError::Foreign`] where it is another's.
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

    /// Opens the database, or makes it.
    pub fn database(&self) -> Result<SledStore, StoreError> {
        let path = database_in(self.data);
        let unusable = |error: io::Error| unusable(&path, &error);
        let database = SledStore::open_at(path.clone(), self.locked().map_err(unusable)?)?;
        let own = identity_in(self.data);
        if Identity::read(&own).map_err(unusable)?.is_none() {
            self.network.write(&own).map_err(unusable)?;
        }
        match Identity::read(&identity_in(&path)).map_err(unusable)? {
            Some(identity) if identity == self.network => Ok(database),
            // One that was made just now, or by an earlier release, which kept no
            // journal.
            None if database.last_commit() == 0 || self.chain.journaled() == 0 => Ok(database),
            _ => Err(StoreError::Foreign { path }),
        }
    }

    /// Marks the database as this directory's, before anything is written to it.
    fn claim(&self) -> Result<(), StoreError> {
        let path = database_in(self.data);
        let within = identity_in(&path);
        let claimed = match Identity::read(&within) {
            Ok(None) => self.network.write(&within),
            read => read.map(drop),
        };
        claimed.map_err(|error| unusable(&path, &error))
    }

    /// Whether the database has everything that was acknowledged.
    fn check(&self, database: &SledStore, is_empty: bool) -> Result<(), StoreError> {
        let (stored, path) = (database.last_commit(), database_in(self.data));
        let acknowledged = self.chain.acknowledged();
        // At most one was written and not acknowledged when the process ended.
        let further = self.chain.records_after(stored).count();
        if acknowledged <= stored && further <= 1 {
            return Ok(());
        }
        let last = self.chain.last();
        // Where there is nothing in one that was used, it is damaged.
        let is_used = matches!(Identity::read(&identity_in(&path)), Ok(Some(_)));
        if stored > 0 || !is_empty || is_used {
            let reason = format!("it ends with commit {stored}, and commit {last} was answered");
            return Err(StoreError::Corrupt { path, reason });
        }
        let zones = self.zones();
        let named = zones.iter().filter(|(_, zone)| zone.contents.names_peers());
        let named: Vec<&str> = named.map(|(origin, _)| &**origin).collect();
        let reason = match named.as_slice() {
            [] => format!("{last} commits were answered, which nothing beside it tells of"),
            named => format!(
                "the dumps and the journal beside it name peers of {}",
                named.join(", ")
            ),
        };
        Err(StoreError::Missing { path, reason })
    }

    /// All zones that dumps and journal know.
    pub fn zones(&self) -> Vec<Zone> {
        let origins = self.chain.origins().into_iter();
        origins
            .map(|origin| {
                let zone = self.chain.zone(&origin);
                (origin, zone)
            })
            .collect()
    }

    /// The zones that dumps and journal know, and of which the database has nothing
    /// at all. It has never served them: the first commit about a zone reserves
    /// serials, which stay when its last peer goes.
    pub fn lacking(
        &self,
        database: &mut SledStore,
        loaded: &Loaded,
    ) -> Result<Vec<Zone>, StoreError> {
        let mut lacking = Vec::new();
        for origin in self.chain.origins() {
            if loaded.contains_key(&origin) {
                continue;
            }
            let stored = database.load(&origin)?;
            if stored.serial > 0 || stored.names_peers() {
                continue;
            }
            let zone = self.chain.zone(&origin);
            lacking.push((origin, zone));
        }
        Ok(lacking)
    }

    /// The number of a commit that is not in the journal: after all there were.
    pub fn next(&self, database: &SledStore) -> u64 {
        let highest = self.chain.dumps().highest();
        self.chain.last().max(highest).max(database.last_commit()) + 1
    }

    /// The commit that the journal has and the database has not.
    pub fn replay(&self, database: &mut SledStore, loaded: &mut Loaded) -> Result<(), StoreError> {
        let further: Vec<_> = self.chain.records_after(database.last_commit()).collect();
        self.claim()?;
        for record in further {
            database.commit_as(record.number, &record.writes())?;
            loaded.retain(|origin, _| !record.zones.contains_key(origin));
        }
        Ok(())
    }

    /// Sets the database aside and makes another, with these zones and as of that
    /// commit. Gives where the old one is.
    pub fn rebuild(&self, zones: &[Zone], commit: u64) -> Result<PathBuf, StoreError> {
        let unusable = |error: io::Error| unusable(self.data, &error);
        let path = database_in(self.data);
        let (aside, number) = files::next_free(&self.data.join("peers.sled.damaged"));
        if number > MOST_REBUILT {
            let reason = format!(
                "it was damaged and made anew {MOST_REBUILT} times, so that the disk seems to be \
                 at fault: see to that, and remove {} and the others like it",
                self.data.join("peers.sled.damaged-1").display()
            );
            return Err(StoreError::Unusable { path, reason });
        }
        let unfinished = self.data.join(UNFINISHED);
        let lock = self.locked().map_err(unusable)?;
        let mut database = SledStore::open_at(unfinished.clone(), lock)?;
        let writes = zones.iter();
        let writes = writes.flat_map(|(origin, zone)| zone.contents.writes(origin));
        database.commit_as(commit, &writes.collect::<Vec<_>>())?;
        let identity = self.network.write(&identity_in(&unfinished));
        identity.map_err(unusable)?;
        drop(database);
        // From here on a start that finds no database takes this one.
        let finished = self.data.join(FINISHED);
        fs::rename(&unfinished, &finished).map_err(unusable)?;
        files::sync_directory(self.data).map_err(unusable)?;
        fs::rename(&path, &aside).map_err(unusable)?;
        fs::rename(&finished, &path).map_err(unusable)?;
        files::sync_directory(self.data).map_err(unusable)?;
        Ok(aside)
    }

    /// Fills zones of which the database has nothing, in one commit. The journal
    /// does not have it: whoever calls this dumps them.
    pub fn fill(
        &self,
        database: &mut SledStore,
        commit: u64,
        zones: &[(&str, &Contents)],
    ) -> Result<(), StoreError> {
        self.claim()?;
        let writes = zones
            .iter()
            .flat_map(|(origin, contents)| contents.writes(origin));
        let writes: Vec<Write> = writes.collect();
        database.commit_as(commit, &writes)
    }

    /// Gives the store: the journal goes on after the last commit of the database.
    /// That one [filled](Self::fill) these zones, if the journal does not have it.
    pub fn join(
        self,
        database: SledStore,
        loaded: Loaded,
        filled: &[&str],
    ) -> Result<LocalStore, StoreError> {
        self.claim()?;
        let data = self.data;
        let stored = database.last_commit();
        let directory = journal::directory(data);
        let unknown = (BTreeMap::new(), stored);
        let is_known = self.chain.acknowledged() <= self.chain.journaled();
        let (changes, journal) = match self.chain.end() {
            Some((path, segment, head)) if head.after == stored => {
                let journal = Journal::resume(path, head, segment);
                (self.chain.changes(), journal)
            }
            Some((_, _, mut head)) if is_known && !filled.is_empty() => {
                head.after = stored;
                let mut changes = self.chain.changes();
                for zone in filled {
                    head.zones.insert((*zone).to_owned(), stored);
                    changes.0.insert((*zone).to_owned(), stored);
                }
                (changes, Journal::begin(&directory, head))
            }
            // What has changed up to here the journal does not have.
            _ => (
                unknown,
                Journal::begin(&directory, Head::new(self.network, stored)),
            ),
        };
        let witness = data.join(WITNESS);
        let dumps = self.chain.dumps().clone();
        Ok(LocalStore {
            data: data.to_owned(),
            journal: journal.map_err(|error| unusable(&directory, &error))?,
            witness: Witness::open(&witness).map_err(|error| unusable(&witness, &error))?,
            last: self.next(&database) - 1,
            database,
            dumps,
            loaded,
            changes,
            _lock: self.lock,
        })
    }

    fn locked(&self) -> io::Result<File> {
        self.lock.try_clone()
    }
}

/// Names of a database that is being made.
const UNFINISHED: &str = "peers.rebuilding";
const FINISHED: &str = "peers.rebuilt";

/// Goes on with a rebuild that was broken off.
fn finish(data: &Path) -> io::Result<()> {
    let (path, finished) = (database_in(data), data.join(FINISHED));
    if finished.is_dir() {
        match path.exists() {
            // The old one was not set aside yet: it will be looked at again.
            true => fs::remove_dir_all(&finished)?,
            false => {
                fs::rename(&finished, &path)?;
                files::sync_directory(data)?;
            }
        }
    }
    let unfinished = data.join(UNFINISHED);
    match unfinished.is_dir() {
        true => fs::remove_dir_all(&unfinished),
        false => Ok(()),
    }
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
