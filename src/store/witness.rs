//! What a store has last acknowledged, in a file beside it.
//!
//! If sled's log is damaged, sled silently continues with what precedes the damage;
//! an etcd that was restored from an older snapshot looks like any other. A store
//! with less than its witness names has lost something.

use std::{
    fs::{self, File},
    io,
    marker::PhantomData,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{checksum, files};

/// What a witness keeps: for a store in a data directory, the number of the last
/// acknowledged commit.
pub trait Entry: Sized {
    /// The text, which has the same length for every entry.
    fn text(&self) -> String;

    /// The entry with this text. Accepts more than [`text`](Self::text) returns.
    fn parse(text: &str) -> Option<Self>;
}

impl Entry for u64 {
    fn text(&self) -> String {
        format!("{self:020}")
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The file with the entry. It is written after the commit, so that it never names
/// one that the store does not have. It is not synced, which costs nothing: after a
/// power failure the number may be too low, which does no harm.
pub struct Witness<T> {
    file: File,
    entry: PhantomData<fn(T)>,
}

impl<T: Entry> Witness<T> {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_there = path.exists();
        let file = files::open(path)?;
        if !is_there {
            files::sync_directory(files::parent_of(path))?;
        }
        let entry = PhantomData;
        Ok(Self { file, entry })
    }

    /// Records an entry. If the file cannot be written, it keeps an earlier one.
    pub fn note(&self, entry: &T) {
        let _ = self.file.write_all_at(line(entry).as_bytes(), 0);
    }
}

/// Reads the entry; `None` if the file is missing or damaged.
pub fn read<T: Entry>(path: &Path) -> Option<T> {
    let whole = fs::read_to_string(path).ok()?;
    let entry = T::parse(whole.rsplit_once(' ')?.0)?;
    (line(&entry) == whole).then_some(entry)
}

fn line(entry: &impl Entry) -> String {
    let text = entry.text();
    let checksum = checksum::of(text.as_bytes());
    format!("{text} {checksum}\n")
}

/// The number in the witness of an earlier release, which was stored in the
/// folder of the database: eight bytes, big-endian.
pub fn of_earlier_release(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_noted() {
        let checksum = checksum::of(b"00000000000000000007");
        assert_kept(
            &[1, u64::MAX, 7],
            &format!("00000000000000000007 {checksum}\n"),
        );
    }

    /// Asserts that each entry is read as it was noted, what the file is then, and
    /// that none is read from it when a byte is damaged.
    pub fn assert_kept<T: Entry + PartialEq + std::fmt::Debug>(entries: &[T], file: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness");
        let witness = Witness::open(&path).unwrap();
        assert_eq!(read::<T>(&path), None);
        for entry in entries {
            witness.note(entry);
            assert_eq!(read::<T>(&path).as_ref(), Some(entry));
        }
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole, file.as_bytes());
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(read::<T>(&path), None, "byte {place}");
        }
    }
}
