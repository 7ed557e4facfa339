//! The number of the last acknowledged commit, in a file beside the store.
//!
//! If sled's log is damaged, sled silently continues with what precedes the
//! damage. A store with fewer commits than the witness has lost some.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{checksum, files};

/// The file with the number. It is written after the commit, so the number is
/// never too high. It is not synced, which costs nothing: after a power failure
/// the number may be too low, which does no harm.
pub struct Witness(File);

impl Witness {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_there = path.exists();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        if !is_there {
            path.parent().map_or(Ok(()), files::sync_directory)?;
        }
        Ok(Self(file))
    }

    /// Records an acknowledged commit. If the file cannot be written, it keeps an
    /// earlier number.
    pub fn note(&self, commit: u64) {
        let _ = self.0.write_all_at(line(commit).as_bytes(), 0);
    }
}

/// Reads the number; `None` if the file is missing or damaged.
pub fn read(path: &Path) -> Option<u64> {
    parse(&fs::read(path).ok()?)
}

/// The number, with leading zeros, and a checksum.
fn line(commit: u64) -> String {
    let number = format!("{commit:020}");
    let checksum = checksum::of(number.as_bytes());
    format!("{number} {checksum}\n")
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let commit = text.split(' ').next()?.parse().ok()?;
    (line(commit) == text).then_some(commit)
}

/// The number in the witness of an earlier release, which was stored in the
/// folder of the database: eight bytes, big-endian.
pub fn of_earlier_release(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_noted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness");
        let witness = Witness::open(&path).unwrap();
        assert_eq!(read(&path), None);
        for commit in [1, u64::MAX, 7] {
            witness.note(commit);
            assert_eq!(read(&path), Some(commit));
        }
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(read(&path), None, "byte {place}");
        }
    }
}
