//! Files and directories that survive a power failure.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Makes the entries of a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates a directory and its missing parents, and makes their names durable.
/// The name of an existing directory is synced as well: its creator may not have
/// done so.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let parent = parent_of(path);
    if path.is_dir() {
        return match sync_directory(parent) {
            // The parent of a volume's mount point may be inaccessible.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.is_dir() {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        // Another process may have created it in the meantime.
        Err(error) if !path.is_dir() => return Err(error),
        _ => {}
    }
    sync_directory(parent)
}

/// The directory that contains the entry.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// The mode of a file that everyone may read.
pub const SHARED: u32 = 0o644;

/// The mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;

/// Replaces or creates a file as a whole or not at all, even if the power fails:
/// the content is written to a file with the extension `part`, which is synced and
/// then renamed.
///
/// The crates that do the same choose a random temporary name, so a process that
/// is killed would leave a file which nothing overwrites or removes.
pub fn write(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(&part).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    });
    if let Err(error) = written {
        // A full disk needs the space.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    sync_directory(parent_of(path))
}

/// Opens or creates a file, without changing its content.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// The path with something added to its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The first of `PATH-1`, `PATH-2` and so on that does not exist, and its number.
pub fn next_free(path: &Path) -> (PathBuf, usize) {
    let mut number = 1;
    loop {
        let free = beside(path, &format!("-{number}"));
        if fs::symlink_metadata(&free).is_err() {
            return (free, number);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_missing_are_made() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b/c");
        make_directory(&path).unwrap();
        assert!(path.is_dir());
        make_directory(&path).unwrap();
        fs::write(path.join("file"), b"").unwrap();
        make_directory(&path.join("file")).unwrap_err();
        make_directory(&path.join("file/d")).unwrap_err();
    }

    #[test]
    fn a_name_without_a_directory_is_in_the_current_one() {
        assert_eq!(parent_of(Path::new("data")), Path::new("."));
        assert_eq!(parent_of(Path::new("/data")), Path::new("/"));
        assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    }
}
