//! The cluster and the highest revision that this replica has seen, in a file of its
//! data directory.
//!
//! An etcd that was restored from an older snapshot, or set up anew, looks like any
//! other. If the last commit that it has precedes the one in this file, it has lost
//! registrations that hosts were told.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::store::{checksum, files};

/// What was seen of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub cluster: u64,
    /// The highest commit that was acknowledged or read.
    pub commit: u64,
}

/// The file. It is written after a commit, so that it never names one that etcd does
/// not have. It is not synced, which costs nothing: after a power failure the number
/// may be too low, which does no harm.
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
            files::sync_directory(files::parent_of(path))?;
        }
        Ok(Self(file))
    }

    /// Records what was seen. If the file cannot be written, it keeps what it has.
    pub fn note(&self, seen: Seen) {
        let _ = self.0.write_all_at(line(seen).as_bytes(), 0);
    }
}

/// What the file says; `None` if it is missing or damaged.
pub fn read(path: &Path) -> Option<Seen> {
    parse(&fs::read(path).ok()?)
}

/// The version of the format, the cluster, the commit, and a checksum.
fn line(Seen { cluster, commit }: Seen) -> String {
    let text = format!("1 {cluster:016x} {commit:020}");
    let checksum = checksum::of(text.as_bytes());
    format!("{text} {checksum}\n")
}

fn parse(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.split(' ').skip(1);
    let seen = Seen {
        cluster: u64::from_str_radix(parts.next()?, 16).ok()?,
        commit: parts.next()?.parse().ok()?,
    };
    (line(seen) == text).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_noted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etcd-witness");
        let witness = Witness::open(&path).unwrap();
        assert_eq!(read(&path), None);
        for (cluster, commit) in [(1, 1), (u64::MAX, u64::MAX), (7, 0)] {
            let seen = Seen { cluster, commit };
            witness.note(seen);
            assert_eq!(read(&path), Some(seen));
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
