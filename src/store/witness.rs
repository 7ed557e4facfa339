//! A count of the commits that were acknowledged, beside the store.
//!
//! Where sled's log is damaged, sled goes on with what stands before the damage
//! and says nothing. A store with fewer commits than the witness has lost some.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{checksum, files};

/// A file that says the number of the last commit that was acknowledged: at most
/// that, since it is written after the commit. It is not flushed, so that it
/// costs nothing: after a power cut it may say fewer, which does no harm.
pub struct Witness(File);

impl Witness {
    /// Opens the file, or makes it.
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

    /// Notes that this commit was the last to become durable. Where it cannot be
    /// written, it says an earlier one.
    pub fn note(&self, commit: u64) {
        let _ = self.0.write_all_at(line(commit).as_bytes(), 0);
    }
}

/// The number in the file, `None` where it has none that can be relied on.
pub fn read(path: &Path) -> Option<u64> {
    parse(&fs::read(path).ok()?)
}

/// The number, in as many digits as the highest has, and a checksum.
fn line(commit: u64) -> String {
    let number = format!("{commit:020}");
    let checksum = checksum::of(number.as_bytes());
    format!("{number} {checksum}\n")
}

fn parse(octets: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(octets).ok()?;
    let commit = text.split(' ').next()?.parse().ok()?;
    (line(commit) == text).then_some(commit)
}

/// What the witness of an earlier release says, which was kept in the folder of
/// the database: eight octets, big-endian.
pub fn of_earlier_release(path: &Path) -> Option<u64> {
    let octets = fs::read(path).ok()?;
    <[u8; 8]>::try_from(octets).ok().map(u64::from_be_bytes)
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
            assert_eq!(read(&path), None, "octet {place}");
        }
    }
}
