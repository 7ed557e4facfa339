//! What etcd has lost, as the dumps of a data directory show, and what to do about it.
//!
//! Replicas dump what etcd has stored, so etcd has a serial of each zone that is not lower
//! than that of any dump. One that is lower, or missing, is that of a zone which was
//! removed or restored from an older dump: its IDs would go to other hosts, and its epoch
//! and serial would fall.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tracing::warn;

use crate::{
    commands::with_advice,
    store::{
        SERIAL_MARGIN, Store as _, StoreError, Write,
        dumps::Dumps,
        etcd::{Settings, SoleStore},
    },
    text::counted,
};

/// A zone of which etcd has less than a dump.
pub struct LostZone {
    pub origin: String,
    /// The newest dump.
    pub dump: PathBuf,
    /// How many peers and pins it has.
    peers: usize,
    serial: u64,
    /// The serial that etcd has; 0 if it has nothing of the zone.
    stored: u64,
}

impl LostZone {
    /// `nothing of b.internal., but data/dumps/b.internal/000000000104.json has 15 peers`.
    pub fn described(&self) -> String {
        let Self { origin, serial, .. } = self;
        let stored = match self.stored {
            0 => format!("nothing of {origin}"),
            stored => format!("an older state of {origin} (serial {stored}, not {serial})"),
        };
        let peers = counted(self.peers, "peer");
        format!("{stored}, but {} has {peers}", self.dump.display())
    }
}

/// The zones whose newest dump names peers, and has a higher serial than etcd.
pub fn lost_zones(dumps: &Dumps, stored_serial: impl Fn(&str) -> u64) -> Vec<LostZone> {
    let mut lost = Vec::new();
    for origin in dumps.origins() {
        let Some(newest) = dumps.newest_sound(&origin).sound else {
            continue;
        };
        let (stored, serial) = (stored_serial(&origin), newest.head.serial);
        if serial <= stored {
            continue;
        }
        let dump = dumps.read(&newest.generation, &origin);
        let peers = dump.map_or(0, |dump| dump.peers.len() + dump.pins.len());
        if peers > 0 {
            lost.push(LostZone {
                origin,
                dump: newest.generation.path,
                peers,
                serial,
                stored,
            });
        }
    }
    lost
}

/// Why a service does not start.
pub fn refusal(lost: &[LostZone], store: &str, prefix: &str, data: &Path) -> anyhow::Error {
    let described: Vec<String> = lost.iter().map(LostZone::described).collect();
    let older = lost.iter().find(|zone| zone.stored > 0);
    let remove = older.map_or_else(String::new, |zone| {
        let origin = &zone.origin;
        format!("remove what etcd has with `etcdctl del --prefix {prefix}/1/zones/{origin}/`, ")
    });
    anyhow!(
        "{store} has {}: stop all replicas, {remove}and run `paramd restore FILE --store {store} \
         --data {}` with the dump of the zone that has the highest number of all replicas; or \
         start with what etcd has by `paramd serve --new`, which assigns the lost IDs to other \
         hosts",
        described.join("; "),
        data.display()
    )
}

/// Lets the zones go on as etcd has them. Their serials continue above those of the dumps,
/// which are set aside.
pub fn begin(
    data: &Path,
    settings: &Settings,
    dumps: &Dumps,
    lost: &[LostZone],
) -> Result<(), StoreError> {
    let mut sole = SoleStore::open(data, settings, "paramd serve --new")?;
    for LostZone { origin, serial, .. } in lost {
        let serial = Write::Serial {
            origin: origin.as_str().into(),
            serial: serial.saturating_add(SERIAL_MARGIN),
        };
        sole.store.commit(&[serial])?;
        let contents = sole.store.load(origin)?;
        let dumped = dumps.set_aside(origin).and_then(|aside| {
            if let Some(aside) = aside {
                let aside = aside.display();
                warn!("{origin} starts as etcd has it; its dumps were moved to {aside}");
            }
            dumps.write(origin, contents)
        });
        if let Err(error) = dumped {
            warn!("cannot dump {origin}: {error}");
        }
    }
    Ok(())
}

/// The error of a store, with advice. `prefix` is that of the keys.
pub fn with_restore_advice(error: StoreError, prefix: &str) -> anyhow::Error {
    let restore = format!(
        "fill it from dumps: take the one with the highest number of all replicas for each zone, \
         {NEWEST}, and run `paramd restore FILE --store etcd://…` with the --data of this replica; \
         give each of the others a new data directory"
    );
    let advice = match &error {
        StoreError::Behind { .. } => format!(
            "it was restored from an older copy, or emptied. Stop all replicas, remove the keys \
             that are left with `etcdctl del --prefix {prefix}/1/`, and {restore}. Or use it as \
             it is, with a new data directory for each replica, so that hosts that registered \
             since are new hosts"
        ),
        StoreError::OtherCluster { .. } => format!(
            "specify the cluster of this data directory with --store. Or stop all replicas, and \
             {restore}. Or use it as it is, with a new data directory for each replica"
        ),
        _ => return with_advice(error),
    };
    anyhow!("{error}: {advice}")
}

/// Where the newest dump of a zone is.
const NEWEST: &str = "which is the number of the last commit in it and the name of the file in \
                      dumps/ORIGIN/ of a data directory";
