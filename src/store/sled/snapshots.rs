//! Snapshots that sled started to write and never renamed.
//!
//! When sled opens a database, it writes its page table to `snap.N.generating`,
//! syncs the file, renames it to `snap.N`, and then overwrites the parts of the
//! log that the table does not need. It does not sync the new name. So after a
//! power failure the old name may be back while those parts of the log are gone;
//! then everything depends on that file. Or the file is incomplete and the log
//! intact; then sled fails to open the database as long as the file exists. Its
//! checksum distinguishes the two.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Renames the intact snapshots, and removes the others.
///
/// # Errors
///
/// A snapshot cannot be read, synced, renamed or removed. The caller makes the
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
            // If the process was killed before it synced the file, it may be
            // complete in memory only.
            File::open(&path)?.sync_all()?;
            fs::rename(&path, database.join(finished))?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A table, its length as eight bytes and its CRC-32, both little-endian.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((bytes, sum)) = bytes.split_last_chunk() else {
        return false;
    };
    let Some((table, length)) = bytes.split_last_chunk() else {
        return false;
    };
    u64::from_le_bytes(*length) == table.len() as u64
        && !table.is_empty()
        && crc32fast::hash(table) == u32::from_le_bytes(*sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The snapshot of a database that sled has reopened.
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
            assert_eq!(finished.exists(), kept == whole.len(), "{kept} bytes");
        }
        assert_eq!(fs::read(&finished).unwrap(), whole);
        for bytes in [vec![0; 12], vec![0; 4096]] {
            fs::write(&unfinished, bytes).unwrap();
            settle(database.path()).unwrap();
            assert_eq!(fs::read(&finished).unwrap(), whole);
        }
    }
}
