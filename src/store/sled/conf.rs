//! The file `conf` of a sled database.
//!
//! sled writes it once, when it makes the database, and never syncs it. After a
//! power cut it may be empty, torn or gone, and sled then opens the database no
//! more, although the log is whole. Nothing is lost with it: what stands in it
//! follows from how this program makes its databases. So it is written here,
//! before sled looks for it, and written anew where it is not whole.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::store::files;

/// What sled 0.34 writes for a database with its default segments. A CRC-32
/// follows, little-endian.
const TEXT: &[u8] = b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n";

/// Makes sure that the file is there, whole, and on disk. A file that is whole
/// stays as it is, whatever it says.
///
/// # Errors
///
/// The file cannot be read, written or synced.
pub fn mend(database: &Path) -> io::Result<()> {
    let path = database.join("conf");
    match fs::read(&path) {
        // Whoever wrote it may not have synced it.
        Ok(octets) if is_whole(&octets) => return File::open(&path)?.sync_all(),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let sum = crc32fast::hash(TEXT).to_le_bytes();
    files::write(&path, files::SHARED, &[TEXT, &sum].concat())
}

fn is_whole(octets: &[u8]) -> bool {
    octets
        .split_last_chunk()
        .is_some_and(|(text, sum)| crc32fast::hash(text) == u32::from_le_bytes(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled writes the same: a later release of sled could write something else.
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
    fn a_file_that_is_not_whole_is_written_anew() {
        let database = tempfile::tempdir().unwrap();
        let path = database.path().join("conf");
        mend(database.path()).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|it| whole[..it].to_vec()).collect();
        damaged.push(vec![0; whole.len()]);
        damaged.push([&whole[..], b"\0"].concat());
        for octets in damaged {
            fs::write(&path, &octets).unwrap();
            mend(database.path()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "{octets:?}");
        }
    }

    /// What another release wrote is for sled to judge.
    #[test]
    fn a_whole_file_stays_whatever_it_says() {
        let database = tempfile::tempdir().unwrap();
        let path = database.path().join("conf");
        let text = b"segment_size: 1024\n";
        let other = [&text[..], &crc32fast::hash(text).to_le_bytes()].concat();
        fs::write(&path, &other).unwrap();
        mend(database.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), other);
    }
}
