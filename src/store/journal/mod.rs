//! The journal: every commit, in plain files that are written behind each other
//! and never changed.
//!
//! A dump may be minutes old. What was committed since is here, so that dumps and
//! journal together have everything that was acknowledged, and the database can
//! be made anew of them.
//!
//! # Files
//!
//! `journal/NUMBER.journal`, a segment each; the number is that of the first
//! commit that may be in it. A segment is text. Each line is a checksum (16
//! digits), a space, what the checksum is of, and a line break:
//!
//! ```text
//! b8a1f… {"journal":1,"network":"5b1c…","after":0,"zones":{},"others":0}
//! 09c2e… 1 {"test.internal.":[{"serial":65537}]}
//! 77d04… 2 {"test.internal.":[{"put":{"host":"a","sequence":"vp","number":0,…}}]}
//! ```
//!
//! The first line says which commits stand before it ([`Head`]), the others are a
//! commit each, by zone. Behind the last line are zeros: the file is made longer
//! by some more than is written, so that most commits change no length, which
//! would cost the file system a write of its own.
//!
//! # Crashes
//!
//! * A commit is written here, then to the disk and to the database at the same
//!   time, and is acknowledged when both have it. So after a kill the journal has
//!   every commit that the database has, and at most one more; after a power cut
//!   each may have one that the other lacks. [`super::local`] makes them equal.
//! * A line that was not written to its end fits no checksum. It is the last one,
//!   and nobody was told of it: it is cut off.
//! * A commit that failed is cut off too, since its number is not given again and
//!   whoever was refused must not turn up later. Where it cannot be cut off, no
//!   further commit succeeds until it can.
//! * Where there is damage before the last line, what stands behind it is read all
//!   the same, and the head of the next segment says whether a zone lacks anything.
//!
//! # Cutting
//!
//! A segment is removed when the next one has begun and dumps have all of it
//! ([`cut`]). A dump is on disk under its name before that.

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

pub use self::record::{Entry, Head, Record, frame, head_line, record_line};
pub use self::segment::{Item, Later, Segment};
use self::sync::Syncer;

/// How long a segment becomes before the next begins, in octets.
const SEGMENT: u64 = 4 << 20;

/// By how much a segment is made longer at least.
const GROWTH: u64 = 64 << 10;

/// How many octets the first line of a segment may have.
const HEAD_OCTETS: u64 = 16 << 20;

/// The journal's directory in a data directory.
pub fn directory(data: &Path) -> PathBuf {
    data.join("journal")
}

/// The segments there, oldest first.
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

/// The number in a segment's name.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".journal")?.parse().ok()
}

/// The journal, to be written.
pub struct Journal {
    directory: PathBuf,
    file: Arc<File>,
    /// The head of the segment that is being written, as the next one's would be:
    /// with every commit that is in this one.
    head: Head,
    /// Behind the last line.
    end: u64,
    /// How long the file is.
    length: u64,
    /// The commit that is being written, and the length of its line.
    writing: Option<(u64, Vec<Arc<str>>, u64)>,
    /// Whether something stands behind the last line that was refused.
    is_dirty: bool,
    syncer: Syncer,
}

impl Journal {
    /// Begins with a new segment. One that would have the same first commit has
    /// none, and is replaced.
    pub fn begin(directory: &Path, head: Head) -> io::Result<Self> {
        files::make_directory(directory)?;
        let (file, end) = begin_segment(directory, &head)?;
        Ok(Self {
            directory: directory.to_owned(),
            file: Arc::new(file),
            head,
            end,
            length: end,
            writing: None,
            is_dirty: false,
            syncer: Syncer::start()?,
        })
    }

    /// Goes on with the last segment, which is whole, and the next of which would
    /// have that head. What stands behind its last line is cut off.
    pub fn resume(path: &Path, head: Head, segment: &Segment) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let mut journal = Self {
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            length: file.metadata()?.len(),
            file: Arc::new(file),
            head,
            end: segment.end as u64,
            writing: None,
            is_dirty: segment.is_torn(),
            syncer: Syncer::start()?,
        };
        journal.clean()?;
        Ok(journal)
    }

    fn next_segment(&mut self, head: Head) -> io::Result<()> {
        let (file, end) = begin_segment(&self.directory, &head)?;
        (self.file, self.end, self.length) = (Arc::new(file), end, end);
        self.head = head;
        self.is_dirty = false;
        Ok(())
    }

    /// Writes a commit and begins to make it durable: [`wait`](Self::wait) must
    /// follow, and then [`keep`](Self::keep) or [`undo`](Self::undo).
    pub fn write(&mut self, number: u64, writes: &[Write]) -> io::Result<()> {
        self.clean()?;
        if self.end >= SEGMENT {
            self.next_segment(self.head.clone())?;
        }
        let mut line = record::record_line(number, writes)?;
        let octets = line.len() as u64;
        if self.end + octets > self.length {
            // At least as many zeros as make the length a round one.
            let length = (self.end + octets).next_multiple_of(GROWTH);
            line.resize((length - self.end) as usize, 0);
            self.length = length;
        }
        self.is_dirty = true;
        if let Err(error) = self.file.write_all_at(&line, self.end) {
            self.undo();
            return Err(error);
        }
        let mut zones: Vec<Arc<str>> = Vec::new();
        for write in writes {
            if zones.last() != Some(write.origin()) {
                zones.push(write.origin().clone());
            }
        }
        self.writing = Some((number, zones, octets));
        self.syncer.begin(self.file.clone());
        Ok(())
    }

    /// Waits until the commit is durable.
    pub fn wait(&mut self) -> io::Result<()> {
        self.syncer.finish()
    }

    /// The commit is acknowledged.
    pub fn keep(&mut self) {
        let Some((number, zones, octets)) = self.writing.take() else {
            return;
        };
        self.head.after = number;
        for zone in zones {
            match self.head.zones.get_mut(&*zone) {
                Some(last) => *last = number,
                None => {
                    self.head.zones.insert(zone.to_string(), number);
                }
            }
        }
        self.end += octets;
        self.is_dirty = false;
    }

    /// The commit is refused.
    pub fn undo(&mut self) {
        self.writing = None;
        // The next commit tries again, and fails where that fails.
        let _ = self.clean();
    }

    /// Cuts off what is not to be there.
    fn clean(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.end)?;
            self.length = self.end;
            self.file.sync_data()?;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// The last commit of it.
    pub fn last(&self) -> u64 {
        self.head.after
    }
}

/// Makes the file of a segment, durably; gives also where its first line ends.
fn begin_segment(directory: &Path, head: &Head) -> io::Result<(File, u64)> {
    let path = directory.join(format!("{:012}.journal", head.after + 1));
    let there = fs::read(&path).ok();
    let there = there.and_then(|octets| Segment::parse(&octets).ok());
    if there.is_some_and(|segment| segment.records().next().is_some()) {
        let reason = format!("{} has commits already", path.display());
        return Err(io::Error::other(reason));
    }
    let line = record::head_line(head)?;
    files::write(&path, files::SHARED, &line)?;
    let file = File::options().read(true).write(true).open(&path)?;
    Ok((file, line.len() as u64))
}

/// Removes the segments of which dumps have everything; `covered` says up to
/// which commit, by origin. The last segment stays in any case.
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
    match removed {
        true => files::sync_directory(directory),
        false => Ok(()),
    }
}

/// Whether no commit between the two heads is needed by any zone.
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
    file.take(HEAD_OCTETS).read_until(b'\n', &mut line).ok()?;
    Segment::parse(&line).ok()?.head
}

/// The heads of the segments that can be read, oldest first.
pub fn heads(directory: &Path) -> Vec<Head> {
    let paths = segments(directory).unwrap_or_default();
    paths.iter().filter_map(|path| head_of(path)).collect()
}

/// How many octets the segments before the last one take.
pub fn closed_octets(directory: &Path) -> u64 {
    let mut paths = segments(directory).unwrap_or_default();
    paths.pop();
    let lengths = paths
        .iter()
        .map(|it| fs::metadata(it).map_or(0, |it| it.len()));
    lengths.sum()
}
