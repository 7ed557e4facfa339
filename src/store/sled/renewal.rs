//! Replaces the database by a copy, after the disk has refused a part of it.
//!
//! When `fsync` fails, the kernel considers the pages in question as written:
//! they remain readable in memory, but no later `fsync` writes them, and
//! everything that depends on them is lost with the next power failure. So after
//! such an error each file of the database is copied through memory to a new
//! file, the copies are synced, and they replace the database. From then on every
//! acknowledged commit is on disk; a failed one may or may not be in the copy.
//!
//! Until the copy is in place, the folder `peers.sled` contains a file `renew`,
//! so that a restarted service continues. That file need not survive a power
//! failure: the pages in memory do not survive it either.
//!
//! The copy is `peers.sled.new` until it is complete and synced. Then the
//! database is renamed to `peers.sled.old`, the copy gets its name, and the old
//! database is removed. [`complete`] continues after any interruption.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::store::files::{beside, parent_of, sync_directory};

/// The file that requests a renewal.
const DEMAND: &str = "renew";

/// The suffixes of the database's name during a renewal.
const NEW: &str = ".new";
const OLD: &str = ".old";

/// The size of the copy buffer.
const BUFFER: usize = 1 << 20;

/// Requests a renewal before the database is opened next. The disk may refuse the
/// file; the process that noticed the error remembers it as well.
pub fn demand(database: &Path) {
    let _ = File::create(database.join(DEMAND));
}

pub fn is_demanded(database: &Path) -> bool {
    database.join(DEMAND).exists()
}

/// Whether a renewal was interrupted while the database had no name.
pub fn is_interrupted(database: &Path) -> bool {
    !database.exists() && beside(database, OLD).exists()
}

/// Replaces the database, which must not be open, by a copy.
///
/// # Errors
///
/// The database is unchanged, and the renewal still requested.
pub fn renew(database: &Path) -> io::Result<()> {
    let copy = beside(database, NEW);
    let copied = copy_directory(database, &copy);
    if copied.is_err() {
        // A full disk needs the space.
        let _ = fs::remove_dir_all(&copy);
    }
    copied?;
    sync_directory(parent_of(database))?;
    fs::rename(database, beside(database, OLD))?;
    complete(database)
}

/// Completes or undoes an interrupted renewal.
///
/// # Errors
///
/// A file cannot be renamed, or the directory cannot be synced.
pub fn complete(database: &Path) -> io::Result<()> {
    let old = beside(database, OLD);
    let copy = beside(database, NEW);
    if old.exists() {
        if !database.exists() {
            // The database is renamed only after the copy has been synced.
            let whole = if copy.exists() { &copy } else { &old };
            fs::rename(whole, database)?;
        }
        sync_directory(parent_of(database))?;
    }
    // The next start tries again.
    let _ = fs::remove_dir_all(&old);
    let _ = fs::remove_dir_all(&copy);
    Ok(())
}

/// Copies a directory with its contents, and syncs the copy.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let copy = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &copy)?;
        } else if name != DEMAND {
            copy_file(&entry.path(), &copy)?;
        }
    }
    sync_directory(to)
}

/// Copies through memory: a copy made by the file system may share the blocks on
/// disk, which cannot be relied on.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return to.sync_all();
        }
        to.write_all(&buffer[..length])?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn database() -> (tempfile::TempDir, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("peers.sled");
        fs::create_dir_all(path.join("blobs")).unwrap();
        fs::write(path.join("db"), b"log").unwrap();
        (data, path)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_renewed_database_is_the_same_in_other_files() {
        use std::os::unix::fs::MetadataExt as _;
        let (data, path) = database();
        let inode = || fs::metadata(path.join("db")).unwrap().ino();
        let before = inode();
        demand(&path);
        assert!(is_demanded(&path));
        // Kept open, so that its inode number is not reused.
        let _old = File::open(path.join("db")).unwrap();
        renew(&path).unwrap();
        assert!(!is_demanded(&path));
        assert_eq!(fs::read(path.join("db")).unwrap(), b"log");
        assert_ne!(inode(), before);
        assert_eq!(names(&path), ["blobs", "db"]);
        assert_eq!(names(data.path()), ["peers.sled"]);
    }

    #[test]
    fn an_interrupted_renewal_is_completed_or_undone() {
        // What exists under each of the three names, and which one is used.
        let cases = [
            ([Some("old"), None, None], "old"),
            ([Some("old"), Some("part"), None], "old"),
            ([None, Some("new"), Some("old")], "new"),
            ([Some("new"), None, Some("old")], "new"),
            ([None, None, Some("old")], "old"),
        ];
        for (there, taken) in cases {
            let data = tempfile::tempdir().unwrap();
            let path = data.path().join("peers.sled");
            for (text, ending) in there.into_iter().zip(["", NEW, OLD]) {
                if let Some(text) = text {
                    fs::create_dir(beside(&path, ending)).unwrap();
                    fs::write(beside(&path, ending).join("db"), text).unwrap();
                }
            }
            assert_eq!(is_interrupted(&path), there[0].is_none());
            complete(&path).unwrap();
            assert_eq!(fs::read(path.join("db")).unwrap(), taken.as_bytes());
            assert_eq!(names(data.path()), ["peers.sled"], "{there:?}");
        }
    }

    /// A database that was moved away must not be replaced by an incomplete copy.
    #[test]
    fn an_unfinished_copy_is_never_taken_for_the_database() {
        let (data, path) = database();
        fs::rename(&path, beside(&path, NEW)).unwrap();
        complete(&path).unwrap();
        assert!(names(data.path()).is_empty());
    }
}
