//! What opening a store makes of the data directory.

use std::path::Path;

use tracing::warn;

use super::{
    LocalStore, database_in,
    place::{Loaded, Place, Zone},
};
use crate::store::{
    Contents, SERIALS_LATER, Store as _, StoreError, Write, chain::Restored, sled::SledStore,
};

/// For what a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// To look something up, or to change something by hand.
    Tool,
    /// To serve: a damaged database is made anew where dumps and journal have
    /// everything that was acknowledged.
    Serve,
    /// The same; and zones whose peers are in dumps and journal, and not in an
    /// empty database, begin anew.
    Anew,
}

impl LocalStore {
    /// Opens the store of a data directory, or makes it, and locks the directory.
    pub fn open(data: &Path, opening: Opening) -> Result<Self, StoreError> {
        let place = Place::lock(data)?;
        let opened = place.open().and_then(|(mut database, mut loaded)| {
            place.replay(&mut database, &mut loaded)?;
            Ok((database, loaded))
        });
        let opened = match (opened, opening) {
            (Ok(opened), _) => Ok(opened),
            (Err(error), Opening::Tool) => return Err(error),
            (Err(error @ StoreError::Corrupt { .. }), _) => Ok(rebuilt(&place, error)?),
            (Err(error), _) => Err(error),
        };
        match opened {
            Ok((database, loaded)) if opening == Opening::Tool => place.join(database, loaded, &[]),
            Ok((mut database, loaded)) => {
                warn_of_problems(&place);
                let lacking = place.lacking(&mut database, &loaded)?;
                let (missing, idle) = lacking
                    .into_iter()
                    .partition::<Vec<_>, _>(|(_, zone)| zone.may_name_peers());
                let mut store = match (missing.is_empty(), opening) {
                    (true, _) => place.join(database, loaded, &[])?,
                    (false, Opening::Anew) => begin_anew(place, database, loaded, missing)?,
                    (false, _) => return Err(lacks(data, &missing)),
                };
                store.go_on_with_serials(&idle)?;
                Ok(store)
            }
            Err(error @ StoreError::Missing { .. }) => {
                let zones = place.zones();
                if opening == Opening::Anew {
                    let database = place.database()?;
                    begin_anew(place, database, Loaded::new(), zones)
                } else if zones.is_empty() || zones.iter().any(|(_, zone)| zone.may_name_peers()) {
                    Err(error)
                } else {
                    // Nothing is lost but the serials.
                    let mut database = place.database()?;
                    let filling = zones.iter();
                    let filling: Vec<_> = filling
                        .map(|(origin, zone)| (&**origin, &zone.contents))
                        .collect();
                    place.fill(&mut database, place.chain.last(), &filling)?;
                    place.join(database, Loaded::new(), &[])
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The serials of zones of which nothing else is lost, as they had no peers.
    fn go_on_with_serials(&mut self, zones: &[Zone]) -> Result<(), StoreError> {
        let known = zones.iter().filter(|(_, zone)| zone.contents.serial > 0);
        let writes: Vec<Write> = known
            .map(|(origin, zone)| Write::Serial {
                origin: origin.as_str().into(),
                serial: zone.contents.serial,
            })
            .collect();
        match writes.is_empty() {
            true => Ok(()),
            false => self.commit(&writes).map(drop),
        }
    }
}

fn warn_of_problems(place: &Place<'_>) {
    for problem in place.chain.problems() {
        warn!("{problem}; nothing is lost by that, and new dumps are made");
    }
}

fn lacks(data: &Path, missing: &[Zone]) -> StoreError {
    let origins: Vec<&str> = missing.iter().map(|(origin, _)| &**origin).collect();
    StoreError::Missing {
        path: database_in(data),
        reason: format!(
            "the dumps and the journal beside it name peers of {}",
            origins.join(", ")
        ),
    }
}

/// Makes the database anew, where dumps and journal have everything that was
/// acknowledged.
fn rebuilt(place: &Place<'_>, error: StoreError) -> Result<(SledStore, Loaded), StoreError> {
    let StoreError::Corrupt { path, reason } = error else {
        return Err(error);
    };
    let zones = place.zones();
    let lacking = zones.iter().find_map(|(origin, zone)| {
        let missing = zone.missing.first()?;
        Some(format!("of {origin} {missing}"))
    });
    let lacking = match zones.is_empty() {
        true => Some("everything".to_owned()),
        false => lacking,
    };
    if let Some(lacking) = lacking {
        let reason = format!("{reason}; and the dumps and the journal beside it lack {lacking}");
        return Err(StoreError::Corrupt { path, reason });
    }
    let commit = place.chain.last();
    let aside = place.rebuild(&zones, commit)?;
    let peers = zones
        .iter()
        .map(|(_, zone)| zone.contents.registrations.len());
    warn!(
        "{} was damaged ({reason}) and is rebuilt of the dumps and the journal: {} registrations, \
         up to commit {commit}, with nothing lost that was answered; the damaged one is {}, which \
         may be removed",
        path.display(),
        peers.sum::<usize>(),
        aside.display()
    );
    place.open()
}

/// Begins zones anew; their serials go on, and their dumps are set aside.
fn begin_anew(
    place: Place<'_>,
    mut database: SledStore,
    loaded: Loaded,
    zones: Vec<Zone>,
) -> Result<LocalStore, StoreError> {
    let commit = place.next(&database);
    let zones: Vec<(String, Contents)> = zones
        .into_iter()
        .map(|(origin, zone)| (origin, emptied(&zone, commit)))
        .collect();
    let filling: Vec<_> = zones
        .iter()
        .map(|(origin, zone)| (&**origin, zone))
        .collect();
    // First: while it is not there, the next start is refused as this one was.
    place.fill(&mut database, commit, &filling)?;
    let origins: Vec<&str> = filling.iter().map(|(origin, _)| *origin).collect();
    let store = place.join(database, loaded, &origins)?;
    for (origin, contents) in &zones {
        let aside = store.dumps.set_aside(origin);
        if let Ok(Some(aside)) = &aside {
            warn!(
                "{origin} begins anew; its dumps are below {}",
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

/// The zone without its peers.
fn emptied(zone: &Restored, commit: u64) -> Contents {
    Contents {
        serial: zone.contents.serial + SERIALS_LATER,
        commit,
        changed: commit,
        ..Contents::default()
    }
}
