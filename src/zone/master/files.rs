//! The files of a master file: itself, and those that it includes.
//!
//! Reading is bounded, because an include may name anything: a device without an end, a
//! pipe without a writer, or a file that includes itself.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The maximum size of a master file with all included files. That is about 700,000
/// records, which take 1.3 GB of memory while they are read.
const MAX_BYTES: u64 = 16 << 20;

/// The maximum depth of includes.
const MAX_DEPTH: usize = 10;

/// The maximum number of files: each takes some time, even if it is empty.
const MAX_FILES: usize = 10_000;

pub(super) struct Files {
    /// Whether files may be opened.
    may_open: bool,
    /// The files being read, each included by the one before.
    chain: Vec<PathBuf>,
    files_left: usize,
    bytes_left: u64,
}

impl Files {
    /// For a text that cannot include files.
    pub fn without_includes() -> Self {
        Self {
            may_open: false,
            ..Self::new()
        }
    }

    pub fn new() -> Self {
        Self {
            may_open: true,
            chain: Vec::new(),
            files_left: MAX_FILES,
            bytes_left: MAX_BYTES,
        }
    }

    /// Reads a file. It counts as open, and cannot be included, until
    /// [`close`](Self::close).
    pub fn open(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        if !self.may_open {
            return Err("cannot be included here".into());
        }
        let unreadable = |error| format!("cannot be read: {error}");
        let canonical = path.canonicalize().map_err(unreadable)?;
        if self.chain.contains(&canonical) {
            return Err("includes itself: remove this line".into());
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(format!(
                "is included too deep: at most {MAX_DEPTH} levels are allowed"
            ));
        }
        self.files_left = self
            .files_left
            .checked_sub(1)
            .ok_or_else(|| format!("is one of more than {MAX_FILES} files: merge some"))?;
        // To open a device may have effects, and to open a pipe waits for a writer.
        if !canonical.metadata().map_err(unreadable)?.is_file() {
            return Err("is not a regular file".into());
        }
        // To read some files of the kernel, such as its log, may wait too.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&canonical)
            .map_err(unreadable)?;
        let mut text = Vec::new();
        file.take(self.bytes_left + 1)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(text.len() as u64)
            .ok_or_else(|| {
                let limit = MAX_BYTES >> 20;
                format!("makes more than {limit} MB, with the files before: shorten it")
            })?;
        self.chain.push(canonical);
        Ok(text)
    }

    pub fn close(&mut self) {
        self.chain.pop();
    }
}
