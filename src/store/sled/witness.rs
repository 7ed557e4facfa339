//! A second count of the commits, beside the database.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use crate::store::StoreError;

/// A file that says how many commits have become durable: at most as many as
/// have, since it is written after them. It is not flushed itself: after a
/// power cut it may say fewer, which does no harm, or have octets in it that it
/// never had: a number counts only with its CRC-32 behind it.
pub struct Witness(File);

/// Octets of the number, and with its checksum; both are big-endian. An earlier
/// release wrote the number alone.
const NUMBER: usize = 8;
const WHOLE: usize = 12;

impl Witness {
    /// Opens the file; gives also the number in it, 0 where there is none.
    pub fn open(path: &Path) -> Result<(Self, u64), StoreError> {
        let unusable = |error: io::Error| StoreError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(unusable)?;
        let mut octets = [0; WHOLE + 1];
        let length = file.read_at(&mut octets, 0).map_err(unusable)?;
        Ok((Self(file), number_in(&octets[..length])))
    }

    /// Notes that so many commits are durable. Where it cannot be written, it
    /// says fewer.
    pub fn note(&self, commits: u64) {
        let _ = self.0.write_all_at(&octets_of(commits), 0);
    }
}

fn octets_of(commits: u64) -> Vec<u8> {
    let number = commits.to_be_bytes();
    [&number[..], &crc32fast::hash(&number).to_be_bytes()].concat()
}

fn number_in(octets: &[u8]) -> u64 {
    let number = octets.first_chunk().copied().map_or(0, u64::from_be_bytes);
    let counts = octets.len() == NUMBER || octets == octets_of(number);
    if counts { number } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_that_was_noted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commits");
        let (witness, seen) = Witness::open(&path).unwrap();
        assert_eq!(seen, 0);
        witness.note(u64::MAX);
        assert_eq!(Witness::open(&path).unwrap().1, u64::MAX);
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Witness::open(&path).unwrap().1, 0, "octet {place}");
        }
        std::fs::write(&path, 7u64.to_be_bytes()).unwrap();
        assert_eq!(Witness::open(&path).unwrap().1, 7);
    }
}
