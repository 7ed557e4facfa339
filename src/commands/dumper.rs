//! The automatic dumps of the service.
//!
//! A zone is dumped when it has changed since its newest dump, even if an earlier
//! run of the service took that. The journal has every change since then; the
//! part of it that the dumps cover is then removed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tracing::{info, warn};

use crate::{
    registry::PublishedZone,
    store::{
        dumps::{Dumps, Generation, Head},
        journal,
    },
};

/// How often a changed zone is dumped.
const INTERVAL: Duration = Duration::from_secs(300);

/// How often the service checks whether a dump is due.
pub const LOOK: Duration = Duration::from_secs(10);

/// Zones are dumped earlier when the journal is larger than this and than the
/// dumps.
const MAX_JOURNAL_BYTES: u64 = 16 << 20;

/// Dumps the zones of a service.
pub struct Dumper {
    journal: PathBuf,
    dumps: Dumps,
    zones: Vec<Zone>,
    /// When the zones were last dumped; `None` right after the start.
    taken: Option<Instant>,
}

struct Zone {
    published: Arc<PublishedZone>,
    origin: String,
    /// The last commit in the newest dump, the serial in it, and its size.
    commit: u64,
    serial: u64,
    bytes: u64,
    /// The number of dumps.
    dumps: usize,
}

impl Dumper {
    pub fn new(data: &Path, dumps: Dumps, zones: &[Arc<PublishedZone>]) -> Self {
        let zones = zones.iter().map(|published| Zone {
            published: published.clone(),
            origin: published.zone.origin_text(),
            commit: 0,
            serial: 0,
            bytes: 0,
            dumps: 0,
        });
        Self {
            journal: journal::directory(data),
            dumps,
            zones: zones.collect(),
            taken: None,
        }
    }

    /// Takes the dumps that are due.
    pub fn look(&mut self) {
        let due = self.taken.is_none_or(|taken| taken.elapsed() >= INTERVAL);
        self.look_at_dumps();
        let dumped: u64 = self.zones.iter().map(|zone| zone.bytes).sum();
        let is_long = journal::closed_bytes(&self.journal) > dumped.max(MAX_JOURNAL_BYTES);
        if due || is_long {
            self.dump(is_long);
        }
    }

    /// Dumps the zones that have changed since their newest dump.
    pub fn take(&mut self) {
        self.look_at_dumps();
        self.dump(false);
    }

    /// The newest dump of each zone.
    pub fn newest(&self) -> Vec<PathBuf> {
        let zones = self.zones.iter();
        let newest = zones.filter_map(|zone| self.dumps.newest_sound(&zone.origin).sound);
        newest.map(|dump| dump.generation.path).collect()
    }

    /// Right after the start: finds the newest dumps, and logs how old they are.
    fn look_at_dumps(&mut self) {
        if self.taken.is_some() {
            return;
        }
        for zone in &mut self.zones {
            let newest = self.dumps.newest_sound(&zone.origin);
            for problem in newest.problems {
                warn!("zone {}: {problem}", zone.published.zone);
            }
            let mut age = "there is no dump".to_owned();
            if let Some(dump) = newest.sound {
                age = age_of(&dump.head);
                zone.note(&dump.generation, dump.head.serial, &self.dumps);
            }
            let change = if zone.has_changed() {
                ", and the zone has changed since"
            } else {
                ""
            };
            info!("zone {}: {age}{change}", zone.published.zone);
        }
    }

    /// Dumps the changed zones. A failure is only logged, since the service does
    /// not depend on dumps. `to_cut` includes the zones whose missing dumps keep
    /// the journal from being cut.
    fn dump(&mut self, to_cut: bool) {
        self.taken = Some(Instant::now());
        for zone in &mut self.zones {
            if !(zone.has_changed() || to_cut && zone.needs_journal()) {
                continue;
            }
            let contents = zone.published.contents();
            let serial = contents.serial;
            match self.dumps.write(&zone.origin, contents) {
                Ok(generation) => zone.note(&generation, serial, &self.dumps),
                Err(error) => warn!("zone {}: cannot dump it: {error}", zone.published.zone),
            }
        }
        let mut covered = BTreeMap::new();
        for origin in self.dumps.origins() {
            let commit = self.dumps.covered(&origin);
            covered.insert(origin, commit);
        }
        if let Err(error) = journal::cut(&self.journal, &covered) {
            let journal = self.journal.display();
            warn!("cannot remove segments of {journal}: {error}");
        }
    }
}

impl Zone {
    fn note(&mut self, newest: &Generation, serial: u64, dumps: &Dumps) {
        self.commit = newest.commit;
        self.serial = serial;
        self.bytes = newest.bytes();
        self.dumps = dumps.of(&self.origin).len();
    }

    /// Whether the newest dump lacks a registration or a pin.
    fn has_changed(&self) -> bool {
        self.published.changed() > self.commit
    }

    /// Whether the journal may contain anything of this zone, if only a serial,
    /// that two dumps do not have.
    fn needs_journal(&self) -> bool {
        let is_higher = self.published.reserved() > self.serial;
        (is_higher || self.dumps < 2) && self.published.commit() > self.commit
    }
}

/// `the last dump was taken at 2026-01-31T12:00:00Z, 3days ago`.
fn age_of(head: &Head) -> String {
    let Some(made) = head.made else {
        return "the time of the last dump is unknown".to_owned();
    };
    match SystemTime::now().duration_since(made.time()) {
        Ok(age) => {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            format!("the last dump was taken at {made}, {age} ago")
        }
        Err(_) => format!("the last dump was taken at {made}, which is in the future"),
    }
}
