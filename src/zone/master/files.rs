//! The files that a master file is made of: itself, and those that it includes.
//!
//! What is read is bounded, because an include may name anything: a device that
//! never ends, a pipe that nobody writes to, or a file that includes itself.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// How much a zone's master file may have, with all that it includes. It is some
/// 700,000 records, which take 1.3 GB while they are read.
const MOST_OCTETS: u64 = 16 << 20;

/// How deep files may include others.
const MOST_DEPTH: usize = 10;

/// How many files may be included: each takes a moment, be it empty.
const MOST_FILES: usize = 10_000;

pub(super) struct Files {
    /// Whether there are files at all, and not one text alone.
    is_open: bool,
    /// The files being read, each included by the one before.
    chain: Vec<PathBuf>,
    files_left: usize,
    octets_left: u64,
}

impl Files {
    /// For a text that includes nothing.
    pub fn none() -> Self {
        Self {
            is_open: false,
            ..Self::new()
        }
    }

    pub fn new() -> Self {
        Self {
            is_open: true,
            chain: Vec::new(),
            files_left: MOST_FILES,
            octets_left: MOST_OCTETS,
        }
    }

    /// The octets of a file, which is being read until [`close`](Self::close).
    pub fn open(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        if !self.is_open {
            return Err("is another file, and there is only this text".into());
        }
        let unreadable = |error| format!("cannot be read: {error}");
        let canonical = path.canonicalize().map_err(unreadable)?;
        if self.chain.contains(&canonical) {
            return Err("includes itself: take this line out".into());
        }
        if self.chain.len() > MOST_DEPTH {
            return Err(format!(
                "is included too deep: at most {MOST_DEPTH} files, each in the one before"
            ));
        }
        self.files_left = self
            .files_left
            .checked_sub(1)
            .ok_or_else(|| format!("is one of more than {MOST_FILES} files: put some together"))?;
        // To open a device may do something, and a pipe waits for its writer.
        if !canonical.metadata().map_err(unreadable)?.is_file() {
            return Err("is no regular file".into());
        }
        // So may a file of the kernel's, such as its log.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&canonical)
            .map_err(unreadable)?;
        let mut octets = Vec::new();
        file.take(self.octets_left + 1)
            .read_to_end(&mut octets)
            .map_err(unreadable)?;
        self.octets_left = self
            .octets_left
            .checked_sub(octets.len() as u64)
            .ok_or_else(|| {
                let most = MOST_OCTETS >> 20;
                format!("makes more than {most} MB of records, with those before: shorten it")
            })?;
        self.chain.push(canonical);
        Ok(octets)
    }

    pub fn close(&mut self) {
        self.chain.pop();
    }
}
