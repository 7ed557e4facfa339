//! Snapshots that sled began to write and never renamed.
//!
//! When sled opens a database it writes the table of its pages to
//! `snap.N.generating`, syncs the file, renames it to `snap.N`, and then
//! overwrites those parts of the log that the table does not need. It does not
//! sync the new name. So after a power cut the old name may be back while those
//! parts of the log are gone: then everything depends on that file. Or else the
//! file is not whole, the log is, and sled opens the database no more as long as
//! the file is there. Its checksum tells the two apart.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Renames the snapshots that are whole, and removes the others.
///
/// # Errors
///
/// One of them cannot be read, synced, renamed or removed. The caller makes the
/// names durable.
pub fn settle(database: &Path) -> io::Result<()> {
    for entry in fs::read_dir(database)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(finished) = name
            .to_str()
            .filter(|name| name.starts_with("snap."))
            .and_then(|name| name.strip_suffix(".generating"))
        else {
            continue;
        };
        let path = entry.path();
        if is_whole(&fs::read(&path)?) {
            // A process that was killed before it synced the file leaves one
            // that is whole in memory only.
            File::open(&path)?.sync_all()?;
            fs::rename(&path, database.join(finished))?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A table, its length in eight octets and its CRC-32, both little-endian.
fn is_whole(octets: &[u8]) -> bool {
    let Some((octets, sum)) = octets.split_last_chunk() else {
        return false;
    };
    let Some((table, length)) = octets.split_last_chunk() else {
        return false;
    };
    u64::from_le_bytes(*length) == table.len() as u64
        && !table.is_empty()
        && crc32fast::hash(table) == u32::from_le_bytes(*sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The snapshot of a database that sled has opened again.
    fn snapshot(database: &Path) -> (String, Vec<u8>) {
        for _ in 0..2 {
            let db = sled::Config::new().path(database).open().unwrap();
            db.insert(b"a", b"b").unwrap();
        }
        let mut entries = fs::read_dir(database).unwrap().map(Result::unwrap);
        let snapshot = entries
            .find(|entry| entry.file_name().to_string_lossy().starts_with("snap."))
            .unwrap();
        let name = snapshot.file_name().into_string().unwrap();
        (name, fs::read(snapshot.path()).unwrap())
    }

    #[test]
    fn a_whole_one_is_renamed_and_any_other_removed() {
        let database = tempfile::tempdir().unwrap();
        let (name, whole) = snapshot(database.path());
        let finished = database.path().join(&name);
        let unfinished = database.path().join(format!("{name}.generating"));
        for kept in 0..=whole.len() {
            let _ = fs::remove_file(&finished);
            fs::write(&unfinished, &whole[..kept]).unwrap();
            settle(database.path()).unwrap();
            assert!(!unfinished.exists());
            assert_eq!(finished.exists(), kept == whole.len(), "{kept} octets");
        }
        assert_eq!(fs::read(&finished).unwrap(), whole);
        for octets in [vec![0; 12], vec![0; 4096]] {
            fs::write(&unfinished, octets).unwrap();
            settle(database.path()).unwrap();
            assert_eq!(fs::read(&finished).unwrap(), whole);
        }
    }
}
