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

/// Makes a directory, and that it is there durable.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    directory.parent().map_or(Ok(()), sync_directory)
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
