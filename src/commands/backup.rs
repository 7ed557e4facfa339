//! The dumps that the service takes of its own accord.
//!
//! A zone is dumped when what is stored of it has changed since its newest dump,
//! whichever run of the service made that. What has changed since then is in the
//! journal, of which the part that the dumps have is then removed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tracing::{info, warn};

use crate::{
    registry::Published,
    store::{
        dumps::{Dumps, Generation, Head},
        journal,
    },
};

/// How often a zone is dumped in which anything has changed.
const INTERVAL: Duration = Duration::from_secs(300);

/// How often it is looked whether there is anything to do.
pub const LOOK: Duration = Duration::from_secs(10);

/// Zones are dumped sooner when the journal has become longer than this, and than
/// the dumps are.
const JOURNAL_OCTETS: u64 = 16 << 20;

/// Dumps of the zones of a service.
pub struct Backup {
    journal: PathBuf,
    dumps: Dumps,
    zones: Vec<Zone>,
    /// When the zones were last dumped; `None` right after the start.
    taken: Option<Instant>,
}

struct Zone {
    published: Arc<Published>,
    origin: String,
    /// Of its newest dump: the last commit that is in it, the serial, and the
    /// octets.
    commit: u64,
    serial: u64,
    octets: u64,
    /// How many dumps there are.
    dumps: usize,
}

impl Backup {
    pub fn new(data: &Path, dumps: Dumps, zones: &[Arc<Published>]) -> Self {
        let zones = zones.iter().map(|published| Zone {
            published: published.clone(),
            origin: published.zone.origin_text(),
            commit: 0,
            serial: 0,
            octets: 0,
            dumps: 0,
        });
        Self {
            journal: journal::directory(data),
            dumps,
            zones: zones.collect(),
            taken: None,
        }
    }

    /// Dumps what it is time to dump.
    pub fn look(&mut self) {
        let due = match self.taken {
            None => {
                self.look_at_dumps();
                true
            }
            Some(taken) => taken.elapsed() >= INTERVAL,
        };
        let dumped: u64 = self.zones.iter().map(|zone| zone.octets).sum();
        let is_long = journal::closed_octets(&self.journal) > dumped.max(JOURNAL_OCTETS);
        if due || is_long {
            self.dump(is_long);
        }
    }

    /// Dumps the zones that have changed since their newest dump.
    pub fn take(&mut self) {
        if self.taken.is_none() {
            self.look_at_dumps();
        }
        self.dump(false);
    }

    /// Looks which dumps there are, and says how old the newest are.
    fn look_at_dumps(&mut self) {
        for zone in &mut self.zones {
            let (newest, problems) = self.dumps.newest_sound(&zone.origin);
            for problem in problems {
                warn!("zone {}: {problem}", zone.published.zone);
            }
            let age = match &newest {
                Some((_, head)) => age(head),
                None => "there is no dump".to_owned(),
            };
            if let Some((generation, head)) = newest {
                let dumps = self.dumps.of(&zone.origin).len();
                zone.note(&generation, head.serial, dumps);
            }
            let lacks = match zone.has_changed() {
                true => ", and the zone has changed since",
                false => "",
            };
            info!("zone {}: {age}{lacks}", zone.published.zone);
        }
    }

    /// The service does without, so a disk that takes no dump is only logged.
    /// `to_cut` has those zones dumped too that keep the journal from being cut.
    fn dump(&mut self, to_cut: bool) {
        self.taken = Some(Instant::now());
        for zone in &mut self.zones {
            if !(zone.has_changed() || to_cut && zone.needs_journal()) {
                continue;
            }
            let contents = zone.published.contents();
            let serial = contents.serial;
            match self.dumps.write(&zone.origin, contents) {
                Ok(generation) => {
                    let dumps = self.dumps.of(&zone.origin).len();
                    zone.note(&generation, serial, dumps);
                }
                Err(error) => warn!("zone {}: cannot dump it: {error}", zone.published.zone),
            }
        }
        let origins = self.dumps.origins().into_iter();
        let covered: BTreeMap<String, u64> = origins
            .map(|origin| {
                let commit = self.dumps.covered(&origin);
                (origin, commit)
            })
            .collect();
        if let Err(error) = journal::cut(&self.journal, &covered) {
            warn!("cannot cut {}: {error}", self.journal.display());
        }
    }
}

impl Zone {
    fn note(&mut self, newest: &Generation, serial: u64, dumps: usize) {
        self.commit = newest.commit;
        self.serial = serial;
        self.octets = newest.octets();
        self.dumps = dumps;
    }

    /// Whether its newest dump lacks a registration or a pin.
    fn has_changed(&self) -> bool {
        self.published.changed() > self.commit
    }

    /// Whether there may be anything of it in the journal that two dumps do not
    /// have, if only a serial.
    fn needs_journal(&self) -> bool {
        let is_higher = self.published.reserved() > self.serial;
        (is_higher || self.dumps < 2) && self.published.commit() > self.commit
    }
}

/// `the last dump is of 2026-01-31T12:00:00Z, 3days ago`.
fn age(head: &Head) -> String {
    let Some(made) = head.made else {
        return "the last dump does not say when it was made".to_owned();
    };
    match SystemTime::now().duration_since(made.time()) {
        Ok(age) => {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            format!("the last dump is of {made}, {age} ago")
        }
        Err(_) => format!("the last dump is of {made}, which is in the future"),
    }
}
