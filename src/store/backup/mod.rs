//! The backup of a data directory: its dumps and its journal. Together they have
//! a zone's newest sound dump and every commit since.
//!
//! This module only reads and needs no lock: files do not change, except for the
//! last line of the journal.
//!
//! Whether anything is missing follows from the heads of the segments, which name
//! the last earlier commit of each zone, and from the witness, which names the
//! last acknowledged commit.

mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use self::state::State;
use super::{
    Contents, Identity, SERIAL_MARGIN,
    dumps::{Dumps, Generation},
    journal::{self, Head, Item, Record, Segment, UnknownVersion},
};

/// The dumps and the journal of a data directory.
pub struct Backup {
    pub(super) dumps: Dumps,
    files: Vec<JournalFile>,
    /// The last commit that a dump or the witness proves to have been acknowledged.
    pub(super) acknowledged: u64,
}

/// A file of the journal.
struct JournalFile {
    path: PathBuf,
    segment: Segment,
    /// Why the file cannot be used.
    problem: Option<String>,
}

/// The last change of each zone.
#[derive(Debug, Default)]
pub struct Changes {
    /// By origin: the last commit that changed a registration or a pin, or a
    /// later commit if that is not known.
    pub zones: BTreeMap<String, u64>,
    /// The same for all other zones.
    pub others: u64,
}

impl Changes {
    pub fn last(&self, origin: &str) -> u64 {
        self.zones.get(origin).copied().unwrap_or(self.others)
    }
}

/// A zone as far as the backup has it.
#[derive(Debug)]
pub struct RecoveredZone {
    pub origin: String,
    pub contents: Contents,
    /// The dump that it is based on; `None` if the journal has everything.
    pub dump: Option<Generation>,
    /// What is missing, or may be missing, of what was acknowledged.
    pub missing: Vec<String>,
    /// What is wrong with files that were not needed.
    pub notes: Vec<String>,
}

impl RecoveredZone {
    /// Whether it has everything that was acknowledged.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether the zone has or may have had peers: unreadable parts may have
    /// named some.
    pub fn may_name_peers(&self) -> bool {
        self.contents.names_peers() || !self.is_whole()
    }
}

impl Backup {
    /// Reads the backup. `acknowledged` is the number in the witness.
    ///
    /// # Errors
    ///
    /// The journal was written by a later release, or its directory cannot be
    /// read.
    pub fn read(data: &Path, network: Identity, acknowledged: u64) -> io::Result<Self> {
        let dumps = Dumps::new(data, network);
        // Read the dumps before the journal: a running service writes to the
        // journal first.
        let acknowledged = acknowledged.max(dumped(&dumps));
        let mut files = Vec::new();
        for path in journal::segments(&journal::directory(data))? {
            files.extend(read_file(path, network)?);
        }
        Ok(Self {
            dumps,
            files,
            acknowledged,
        })
    }

    /// The origins that occur in the backup.
    pub fn origins(&self) -> BTreeSet<String> {
        let mut origins = self.dumps.origins();
        for segment in self.segments() {
            let head = segment.head.iter();
            origins.extend(head.flat_map(|head| head.zones.keys().cloned()));
            let writes = segment.records().flat_map(|record| &record.writes);
            origins.extend(writes.map(|write| write.origin().to_string()));
        }
        origins
    }

    /// The last commit in the journal.
    pub fn journaled(&self) -> u64 {
        self.segments().map(Segment::last).max().unwrap_or(0)
    }

    /// The last commit that is known to have been attempted.
    pub fn last(&self) -> u64 {
        self.journaled().max(self.acknowledged)
    }

    /// The commits in the journal after this one.
    pub fn records_after(&self, commit: u64) -> impl Iterator<Item = &Record> {
        let records = self.segments().flat_map(Segment::records);
        records.filter(move |record| record.number > commit)
    }

    /// The last segment, if it is whole, so that the journal can be continued;
    /// and the head of its successor.
    pub fn end(&self) -> Option<(&Path, &Segment, Head)> {
        let JournalFile { path, segment, .. } = self.files.last()?;
        let head = segment.next_head().filter(|_| segment.is_whole())?;
        (head.after == self.journaled()).then_some((path, segment, head))
    }

    /// The last commit that changed each zone, or a later one if that is not
    /// known.
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for segment in self.segments() {
            if let Some(head) = &segment.head {
                if head.others > changes.others {
                    changes.others = head.others;
                    changes.zones.clear();
                    seen.clear();
                }
                for (origin, last) in &head.zones {
                    // The journal may have missed a commit of a zone that it has
                    // not seen.
                    if *last > seen.get(&**origin).copied().unwrap_or(0) {
                        changes.zones.insert(origin.clone(), *last);
                        seen.insert(origin, *last);
                    }
                }
            }
            for record in segment.records() {
                for write in &record.writes {
                    let origin = &**write.origin();
                    seen.insert(origin, record.number);
                    let last = changes.zones.entry(origin.to_owned());
                    let last = last.or_insert(changes.others);
                    if write.is_change() {
                        *last = record.number;
                    }
                }
            }
        }
        changes
    }

    /// What is wrong with the journal.
    pub fn problems(&self) -> Vec<String> {
        let files = self.files.iter().enumerate();
        files
            .flat_map(|(place, file)| {
                let is_last = place + 1 == self.files.len();
                let unreadable = file.problem.iter().map(|it| file.named(it));
                unreadable.chain(file.damages(is_last))
            })
            .collect()
    }

    /// The last state of a zone.
    pub fn zone(&self, origin: &str) -> RecoveredZone {
        let mut notes = Vec::new();
        let base = self.dumps.of(origin).into_iter().find_map(|generation| {
            let dump = self.dumps.read(&generation, origin);
            let dump = dump.inspect_err(|problem| notes.push(generation.problem(problem)));
            Some((dump.ok()?.contents(), generation))
        });
        let (contents, dump) = base.unzip();
        let contents = contents.unwrap_or_default();
        let commit = contents.commit;
        let mut state = State::from(contents);
        let mut missing = self.replay(origin, commit, &mut state);
        if !missing.is_empty() {
            missing.extend(state.settle());
            state.serial += SERIAL_MARGIN;
        }
        let mut contents = state.into_contents();
        contents.commit = self.last();
        contents.changed = contents.commit;
        RecoveredZone {
            origin: origin.to_owned(),
            contents,
            dump,
            missing,
            notes,
        }
    }

    /// Applies the commits after `base`, and returns what is missing.
    fn replay(&self, origin: &str, base: u64, state: &mut State) -> Vec<String> {
        let mut missing = Vec::new();
        // The state includes all commits about the zone up to this one.
        let mut known = base;
        // Damage since the last head, which may hide a commit of the zone.
        let mut hidden: Vec<String> = Vec::new();
        for (place, file) in self.files.iter().enumerate() {
            match &file.segment.head {
                Some(head) if head.last(origin) > known => {
                    let last = head.last(origin);
                    missing.push(lost(known, last, &hidden));
                    (known, hidden) = (last, Vec::new());
                }
                Some(_) => hidden.clear(),
                None => hidden.extend(file.problem.iter().map(|it| file.named(it))),
            }
            for (item, following) in file.segment.items.iter().zip(1..) {
                match item {
                    Item::Record(record) if record.number > known => {
                        for write in &record.writes {
                            if &**write.origin() == origin {
                                state.apply(write);
                                known = record.number;
                            }
                        }
                    }
                    Item::Record(_) => {}
                    Item::Damage(range) => {
                        // A commit that a dump includes is not missing. One at
                        // the end of the journal was acknowledged only if the
                        // witness says so.
                        let next = self.next(place, following);
                        if next.is_some_and(|next| next > base + 1) {
                            hidden.push(file.damage(range));
                        }
                    }
                }
            }
        }
        if !hidden.is_empty() {
            missing.push(format!("unknown commits ({})", hidden.join(", ")));
        }
        let last = self.journaled().max(base);
        if self.acknowledged > last {
            let last_file = self.files.last();
            let torn = last_file.map_or(Vec::new(), |file| file.damages(false));
            missing.push(lost(last, self.acknowledged, &torn));
        }
        missing
    }

    /// The first readable commit from this item of a file on.
    fn next(&self, place: usize, item: usize) -> Option<u64> {
        let within = self.files[place].segment.items[item..].iter();
        let within = within.filter_map(Item::record).next();
        within.map(|record| record.number).or_else(|| {
            let mut later = self.files[place + 1..].iter();
            later.find_map(|file| match &file.segment.head {
                Some(head) => Some(head.after + 1),
                None => file.segment.records().next().map(|it| it.number),
            })
        })
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.files.iter().map(|file| &file.segment)
    }
}

/// The last commit that is in a dump of this directory.
fn dumped(dumps: &Dumps) -> u64 {
    let origins = dumps.origins();
    let commits = origins.iter().filter_map(|origin| {
        let newest = dumps.of(origin).into_iter().next()?;
        dumps.head(&newest, origin).ok()?;
        Some(newest.commit)
    });
    commits.max().unwrap_or(0)
}

/// Describes missing commits.
fn lost(known: u64, last: u64, damages: &[String]) -> String {
    let commits = match last - known {
        1 => format!("commit {last}"),
        _ => format!("commits {} to {last}", known + 1),
    };
    match damages {
        [] => commits,
        damages => format!("{commits} ({})", damages.join(", ")),
    }
}

/// Reads a segment; `None` if it has been removed in the meantime.
fn read_file(path: PathBuf, network: Identity) -> io::Result<Option<JournalFile>> {
    let (segment, problem) = match fs::read(&path).map(|bytes| Segment::parse(&bytes)) {
        Ok(Ok(segment)) => match &segment.head {
            Some(head) if head.network != network => {
                let elsewhere = "it belongs to another data directory";
                (Segment::default(), Some(elsewhere.to_owned()))
            }
            Some(_) => (segment, None),
            None => (segment, Some("its first line is damaged".to_owned())),
        },
        Ok(Err(UnknownVersion(version))) => {
            return Err(io::Error::other(format!(
                "{} was written by a later release: version {version} of its format is not supported",
                path.display()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => (Segment::default(), Some(error.to_string())),
    };
    Ok(Some(JournalFile {
        path,
        segment,
        problem,
    }))
}

impl JournalFile {
    fn named(&self, problem: &str) -> String {
        format!("{}: {problem}", self.path.display())
    }

    fn damage(&self, range: &Range<usize>) -> String {
        let last = range.end - 1;
        self.named(&format!("bytes {} to {last} are damaged", range.start))
    }

    /// The unreadable parts of a file. `but_last` leaves out the end, which may
    /// be an incomplete write.
    fn damages(&self, but_last: bool) -> Vec<String> {
        let items = &self.segment.items;
        let left_out = usize::from(but_last && self.segment.is_torn());
        let items = items[..items.len() - left_out].iter();
        items
            .filter_map(|item| match item {
                Item::Damage(range) => Some(self.damage(range)),
                Item::Record(_) => None,
            })
            .collect()
    }
}
