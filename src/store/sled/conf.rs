//! The file `conf` of a sled database.
//!
//! sled writes it once, when it creates the database, and never syncs it. After a
//! power failure it may be empty, incomplete or missing; sled then fails to open
//! the database although the log is intact. The contents follow from how this
//! program creates its databases. So this module writes the file before sled
//! looks for it, and rewrites it if it is not intact.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::store::files;

/// What sled 0.34 writes for a database with default segments. A CRC-32 follows,
/// little-endian.
const TEXT: &[u8] = b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n";

/// Ensures that the file exists, is intact, and is on disk. An intact file is not
/// changed, whatever its contents.
///
/// # Errors
///
/// The file cannot be read, written or synced.
pub fn mend(database: &Path) -> io::Result<()> {
    let path = database.join("conf");
    match fs::read(&path) {
        // Its writer may not have synced it.
        Ok(bytes) if is_whole(&bytes) => return File::open(&path)?.sync_all(),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let sum = crc32fast::hash(TEXT).to_le_bytes();
    files::write(&path, files::SHARED, &[TEXT, &sum].concat())
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk()
        .is_some_and(|(text, sum)| crc32fast::hash(text) == u32::from_le_bytes(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A later release of sled could write something else.
    #[test]
    fn it_is_what_sled_writes() {
        let data = tempfile::tempdir().unwrap();
        let by_sled = data.path().join("by-sled");
        drop(sled::Config::new().path(&by_sled).open().unwrap());
        let by_us = data.path().join("by-us");
        fs::create_dir(&by_us).unwrap();
        mend(&by_us).unwrap();
        let conf = |database: &Path| fs::read(database.join("conf")).unwrap();
        assert_eq!(conf(&by_us), conf(&by_sled));
    }

    #[test]
    fn only_a_file_that_is_not_whole_is_written_anew() {
        let database = tempfile::tempdir().unwrap();
        let path = database.path().join("conf");
        mend(database.path()).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|it| whole[..it].to_vec()).collect();
        damaged.push(vec![0; whole.len()]);
        damaged.push([&whole[..], b"\0"].concat());
        for bytes in damaged {
            fs::write(&path, &bytes).unwrap();
            mend(database.path()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "{bytes:?}");
        }
        // What another release of sled wrote is for sled to judge.
        let text = b"segment_size: 1024\n";
        let other = [&text[..], &crc32fast::hash(text).to_le_bytes()].concat();
        fs::write(&path, &other).unwrap();
        mend(database.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), other);
    }
}
