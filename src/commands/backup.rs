//! The dumps that the service takes of its own accord, so that there is one when
//! the store is damaged.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::warn;

use super::dump::{self, JsonDump};
use crate::registry::Published;

/// How often a zone is dumped in which anything has changed.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// Dumps of the zones of a service, `dumps/ORIGIN.json` in its data directory.
pub struct Backup {
    directory: PathBuf,
    /// Each zone, and its changes when it was last dumped.
    zones: Vec<(Arc<Published>, u64)>,
}

impl Backup {
    pub fn new(data: &Path, zones: &[Arc<Published>]) -> Self {
        Self {
            directory: data.join("dumps"),
            zones: zones.iter().map(|zone| (zone.clone(), 0)).collect(),
        }
    }

    /// Dumps the zones that have changed. The service does without, so a disk
    /// that takes none is only logged.
    pub fn take(&mut self) {
        for (published, dumped) in &mut self.zones {
            let changes = published.changes();
            if changes == *dumped {
                continue;
            }
            let path = self.directory.join(format!("{}.json", published.zone));
            match write(&path, published) {
                Ok(()) => *dumped = changes,
                Err(error) => warn!("cannot write {}: {error}", path.display()),
            }
        }
    }
}

/// The old dump stays until the new one is whole and on disk.
fn write(path: &Path, published: &Published) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let part = path.with_extension("part");
    let mut out = BufWriter::new(File::create(&part)?);
    let dump = JsonDump {
        version: dump::VERSION,
        origin: published.zone.origin_text(),
        serial: published.network().revision(),
        peers: published.registrations(),
        pins: published.pins(),
    };
    serde_json::to_writer_pretty(&mut out, &dump)?;
    out.write_all(b"\n")?;
    out.into_inner()?.sync_all()?;
    fs::rename(&part, path)
}
