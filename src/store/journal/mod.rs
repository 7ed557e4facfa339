//! The journal: every commit, in plain files that are only appended to.
//!
//! The newest dump may be minutes old. The journal has every commit since, so
//! that dumps and journal together have everything that was acknowledged, and the
//! database can be rebuilt from them.
//!
//! # Files
//!
//! Each segment is a file `journal/NUMBER.journal`, named by the first commit
//! that it may contain. A segment is text. Each line consists of a checksum (16
//! digits), a space, the payload, which the checksum covers, and a line break:
//!
//! ```text
//! b8a1f… {"journal":1,"network":"5b1c…","after":0,"zones":{},"others":0}
//! 09c2e… 1 {"test.internal.":[{"serial":65537}]}
//! 77d04… 2 {"test.internal.":[{"put":{"host":"a","sequence":"vp","number":0,…}}]}
//! ```
//!
//! The first line names the commits before it ([`Head`]); each other line is a
//! commit, by zone. The last line is followed by zeros: the file is extended in
//! larger steps than a line, because each change of its length costs the file
//! system another write.
//!
//! # Crashes
//!
//! * A commit is written here, then synced while the database commits it, and
//!   acknowledged when both are durable. So after a kill the journal has every
//!   commit of the database and at most one more; after a power failure, each may
//!   have a commit that the other lacks. [`super::local`] reconciles them.
//! * An incomplete line fails its checksum. It is the last line, and nobody was
//!   told of it: it is truncated.
//! * A failed commit is truncated too, since its number is not reused and a
//!   refused registration must not reappear later. While it cannot be truncated,
//!   no further commit succeeds.
//! * Lines after a damaged one are still read, and the head of the next segment
//!   tells whether a zone lacks anything.
//!
//! # Removal
//!
//! A segment is removed when its successor exists and dumps cover all of it
//! ([`cut`]). A dump is durable before that.

mod record;
mod segment;
mod sync;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Write, files};

pub use self::record::{Head, Record, frame, head_line, note, record_line};
pub use self::segment::{Item, Segment, UnknownVersion};
use self::sync::Syncer;

/// The size at which the next segment begins.
const SEGMENT_BYTES: u64 = 4 << 20;

/// The step in which a file is extended.
const GROWTH_BYTES: u64 = 64 << 10;

/// The maximum length of the first line of a segment.
const MAX_HEAD_BYTES: u64 = 16 << 20;

/// The journal in a data directory.
pub fn directory(data: &Path) -> PathBuf {
    data.join("journal")
}

/// The segments in a directory, oldest first.
pub fn segments(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        found.extend(first_of(&path).map(|first| (first, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The number in the name of a segment.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".journal")?.parse().ok()
}

/// The journal, open for writing.
pub struct Journal {
    directory: PathBuf,
    file: Arc<File>,
    /// The head that the next segment would have, which includes every commit of
    /// the current one.
    head: Head,
    /// The end of the last line.
    end: u64,
    /// The length of the file.
    length: u64,
    /// The end of what was written: beyond `end` if a commit follows the last line
    /// that is not kept yet, or may be refused.
    written: u64,
    syncer: Syncer,
}

impl Journal {
    /// Starts a new segment. An existing one with the same first commit contains
    /// no commits, and is replaced.
    pub fn begin(directory: &Path, head: Head) -> io::Result<Self> {
        files::make_directory(directory)?;
        let (file, end) = begin_segment(directory, &head)?;
        Self::new(directory, file, head, end)
    }

    /// Continues the last segment, which is whole; `head` is that of its
    /// successor. Anything after the last line is truncated.
    pub fn resume(path: &Path, head: Head, segment: &Segment) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let mut journal = Self::new(files::parent_of(path), file, head, segment.end as u64)?;
        if segment.is_torn() {
            journal.written = journal.length;
        }
        journal.clean()?;
        Ok(journal)
    }

    fn new(directory: &Path, file: File, head: Head, end: u64) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            length: file.metadata()?.len(),
            file: Arc::new(file),
            head,
            end,
            written: end,
            syncer: Syncer::start()?,
        })
    }

    /// Writes a commit and starts to sync it: [`wait`](Self::wait) must follow,
    /// and then [`keep`](Self::keep) with the same commit, or [`undo`](Self::undo).
    pub fn write(&mut self, number: u64, writes: &[Write]) -> io::Result<()> {
        self.clean()?;
        let mut line = record::record_line(number, writes)?;
        if self.end >= SEGMENT_BYTES {
            let (file, end) = begin_segment(&self.directory, &self.head)?;
            (self.file, self.end, self.length) = (Arc::new(file), end, end);
        }
        self.written = self.end + line.len() as u64;
        if self.written > self.length {
            // Extend the file with zeros to a multiple of the step.
            self.length = self.written.next_multiple_of(GROWTH_BYTES);
            line.resize((self.length - self.end) as usize, 0);
        }
        if let Err(error) = self.file.write_all_at(&line, self.end) {
            self.undo();
            return Err(error);
        }
        self.syncer.begin(self.file.clone());
        Ok(())
    }

    /// Waits until the commit is durable.
    pub fn wait(&mut self) -> io::Result<()> {
        self.syncer.finish()
    }

    /// Keeps the commit, which is acknowledged.
    pub fn keep(&mut self, number: u64, writes: &[Write]) {
        self.head.after = number;
        record::note(&mut self.head.zones, number, writes);
        self.end = self.written;
    }

    /// Removes the commit, which is refused.
    pub fn undo(&mut self) {
        // The next commit tries again, and fails if that fails.
        let _ = self.clean();
    }

    /// Truncates a refused commit.
    fn clean(&mut self) -> io::Result<()> {
        if self.written > self.end {
            self.file.set_len(self.end)?;
            self.length = self.end;
            self.file.sync_data()?;
            self.written = self.end;
        }
        Ok(())
    }
}

/// Creates the file of a segment, durably. Returns the file and the end of its
/// first line.
fn begin_segment(directory: &Path, head: &Head) -> io::Result<(File, u64)> {
    let path = directory.join(format!("{:012}.journal", head.after + 1));
    let bytes = fs::read(&path).ok();
    let there = bytes.and_then(|bytes| Segment::parse(&bytes).ok());
    if there.is_some_and(|segment| segment.records().next().is_some()) {
        let reason = format!("{} already contains commits", path.display());
        return Err(io::Error::other(reason));
    }
    let line = record::head_line(head)?;
    files::write(&path, files::SHARED, &line)?;
    let file = File::options().read(true).write(true).open(&path)?;
    Ok((file, line.len() as u64))
}

/// Removes the segments that dumps cover; `covered` is the last covered commit by
/// origin. The last segment is always kept.
pub fn cut(directory: &Path, covered: &BTreeMap<String, u64>) -> io::Result<()> {
    let mut removed = false;
    let mut later: Option<Head> = None;
    for path in segments(directory)?.into_iter().rev() {
        let head = head_of(&path);
        if let Some(later) = &later
            && is_covered(head.as_ref(), later, covered)
        {
            fs::remove_file(&path)?;
            removed = true;
        }
        later = head.or(later);
    }
    if removed {
        files::sync_directory(directory)?;
    }
    Ok(())
}

/// Whether no zone needs the commits between the two heads.
fn is_covered(head: Option<&Head>, later: &Head, covered: &BTreeMap<String, u64>) -> bool {
    let named = head.map(|head| head.zones.keys());
    let mut zones = (later.zones.keys().chain(covered.keys())).chain(named.into_iter().flatten());
    zones.all(|zone| {
        let before = head.map_or(0, |head| head.last(zone));
        let covered = covered.get(zone).copied().unwrap_or(0);
        later.last(zone) <= covered.max(before)
    })
}

fn head_of(path: &Path) -> Option<Head> {
    let mut line = Vec::new();
    let file = BufReader::new(File::open(path).ok()?);
    file.take(MAX_HEAD_BYTES)
        .read_until(b'\n', &mut line)
        .ok()?;
    Segment::parse(&line).ok()?.head
}

/// The readable heads of the segments, oldest first.
pub fn heads(directory: &Path) -> Vec<Head> {
    let paths = segments(directory).unwrap_or_default();
    paths.iter().filter_map(|path| head_of(path)).collect()
}

/// The size of all segments except the last.
pub fn closed_bytes(directory: &Path) -> u64 {
    let mut paths = segments(directory).unwrap_or_default();
    paths.pop();
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |it| it.len());
    paths.iter().map(length).sum()
}
