//! Files that must survive a power cut, and their names.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a directory and those above it that are missing, and the name of each
/// durable. The name of a directory that is there is made durable as well: who
/// made it may not have done so.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let parent = parent_of(path);
    if path.is_dir() {
        return match sync_directory(parent) {
            // The parent of a volume's directory may be nobody's business here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.is_dir() {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        // Another process may have made it meanwhile.
        Err(error) if !path.is_dir() => return Err(error),
        _ => {}
    }
    sync_directory(parent)
}

/// The directory that has the name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// A file of that name that only its owner may write; what was in it is gone.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
}

/// Writes a file that is there as a whole or not at all, also after a power cut:
/// it has another name until it is on disk.
pub fn replace(path: &Path, fill: impl FnOnce(File) -> io::Result<File>) -> io::Result<()> {
    let part = path.with_extension("part");
    let written = create(&part)
        .and_then(fill)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        // A disk that is full has need of the room.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// The same for a file of a few octets.
pub fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    replace(path, |mut file| {
        file.write_all(octets)?;
        Ok(file)
    })
}

/// The first of `PATH-1`, `PATH-2` and so on that is not there, and its number.
pub fn next_free(path: &Path) -> (PathBuf, usize) {
    let mut number = 1;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        let free = PathBuf::from(name);
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
