//! A second count of the commits, beside the database.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use crate::store::StoreError;

/// A file that says how many commits have become durable: at most as many as
/// have, since it is written after them. It is not flushed itself: after a
/// power cut it may say fewer, which does no harm.
pub struct Witness(File);

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
        let mut octets = [0; 8];
        let seen = match file.read_exact_at(&mut octets, 0) {
            Ok(()) => u64::from_be_bytes(octets),
            Err(_) => 0,
        };
        Ok((Self(file), seen))
    }

    /// Notes that so many commits are durable. Where it cannot be written, it
    /// says fewer.
    pub fn note(&self, commits: u64) {
        let _ = self.0.write_all_at(&commits.to_be_bytes(), 0);
    }
}
