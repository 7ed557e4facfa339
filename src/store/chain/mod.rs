//! What dumps and journal together say of a zone: its newest dump that is whole,
//! and every commit since.
//!
//! It is only read here, and needs no lock: what is on disk under its name does
//! not change, but for the last line of the journal.
//!
//! Whether anything is missing is known from the heads of the segments, which
//! name the last commit before them that was about the zone, and from the
//! witness, which names the last one that was acknowledged.

mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use self::state::State;
use super::{
    Contents, Identity, SERIALS_LATER,
    dumps::{Dumps, Generation},
    journal::{self, Head, Item, Later, Record, Segment},
};

/// Dumps and journal of a data directory.
pub struct Chain {
    dumps: Dumps,
    parts: Vec<Part>,
    /// The last commit that was acknowledged, as far as is known.
    acknowledged: u64,
}

/// A segment of the journal.
struct Part {
    path: PathBuf,
    segment: Segment,
    /// Why nothing of it can be used.
    problem: Option<String>,
}

/// A zone, as far as it could be brought back.
#[derive(Debug)]
pub struct Restored {
    pub contents: Contents,
    /// The dump that it begins with; `None` where the journal has it all.
    pub dump: Option<Generation>,
    /// What is missing of what was acknowledged, or may be.
    pub missing: Vec<String>,
    /// What is wrong with files that were not needed.
    pub notes: Vec<String>,
}

impl Restored {
    /// Whether it has everything that was acknowledged.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether the zone has peers, or may have had: what cannot be read may have
    /// named some.
    pub fn may_name_peers(&self) -> bool {
        self.contents.names_peers() || !self.is_whole()
    }
}

impl Chain {
    /// Reads what is there. `acknowledged` is what the witness says.
    ///
    /// # Errors
    ///
    /// The journal is of a later release, or its directory cannot be read.
    pub fn read(data: &Path, network: Identity, acknowledged: u64) -> io::Result<Self> {
        let dumps = Dumps::new(data, network);
        // Before the journal: a service may be at work, and has it first there.
        let acknowledged = acknowledged.max(dumped(&dumps));
        let mut parts = Vec::new();
        for path in journal::segments(&journal::directory(data))? {
            parts.extend(part(path, network)?);
        }
        Ok(Self {
            dumps,
            parts,
            acknowledged,
        })
    }

    pub fn dumps(&self) -> &Dumps {
        &self.dumps
    }

    /// The origins of which there is anything.
    pub fn origins(&self) -> BTreeSet<String> {
        let mut origins = self.dumps.origins();
        for segment in self.segments() {
            let heads = segment.head.iter().flat_map(|head| head.zones.keys());
            let records = segment.records().flat_map(|record| record.zones.keys());
            origins.extend(heads.chain(records).cloned());
        }
        origins
    }

    /// The last commit of the journal.
    pub fn journaled(&self) -> u64 {
        self.segments().map(Segment::last).max().unwrap_or(0)
    }

    /// The last commit that a dump or the witness tells of, so that it was
    /// acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The last commit that there can have been, as far as is known.
    pub fn last(&self) -> u64 {
        self.journaled().max(self.acknowledged())
    }

    /// The commits in the journal after that one.
    pub fn records_after(&self, commit: u64) -> impl Iterator<Item = &Record> {
        let records = self.segments().flat_map(Segment::records);
        records.filter(move |record| record.number > commit)
    }

    /// The last segment, if it is whole, so that a journal can go on with it; and
    /// the head that the next one has.
    pub fn end(&self) -> Option<(&Path, &Segment, Head)> {
        let Part { path, segment, .. } = self.parts.last()?;
        let head = segment.next_head().filter(|_| segment.is_whole())?;
        (head.after == self.journaled()).then_some((path, segment, head))
    }

    /// The last commit that changed a registration or a pin of each zone, or a
    /// later one where that is not known. The second is that of zones that are not
    /// named.
    pub fn changes(&self) -> (BTreeMap<String, u64>, u64) {
        let mut changes = BTreeMap::new();
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        let mut others = 0;
        for segment in self.segments() {
            if let Some(head) = &segment.head {
                if head.others > others {
                    others = head.others;
                    changes.clear();
                    seen.clear();
                }
                for (origin, last) in &head.zones {
                    // Of a zone that it has not seen it may have missed something.
                    if *last > seen.get(&**origin).copied().unwrap_or(0) {
                        changes.insert(origin.clone(), *last);
                        seen.insert(origin, *last);
                    }
                }
            }
            for record in segment.records() {
                for (origin, entries) in &record.zones {
                    seen.insert(origin, record.number);
                    if entries.iter().any(|entry| entry.is_change()) {
                        changes.insert(origin.clone(), record.number);
                    } else {
                        changes.entry(origin.clone()).or_insert(others);
                    }
                }
            }
        }
        (changes, others)
    }

    /// What is wrong with the journal.
    pub fn problems(&self) -> Vec<String> {
        let parts = self.parts.iter().enumerate();
        parts
            .flat_map(|(place, part)| {
                let is_last = place + 1 == self.parts.len();
                let unreadable = part.problem.iter().map(|it| part.named(it));
                unreadable.chain(part.damages(is_last))
            })
            .collect()
    }

    /// The zone, as it was last.
    pub fn zone(&self, origin: &str) -> Restored {
        let mut notes = Vec::new();
        let mut state = State::default();
        let mut base = None;
        for generation in self.dumps.of(origin) {
            match self.dumps.read(&generation, origin) {
                Ok(dump) => {
                    state = State::from(dump.contents());
                    base = Some(generation);
                    break;
                }
                Err(problem) => notes.push(generation.problem(&problem)),
            }
        }
        let commit = base.as_ref().map_or(0, |base| base.commit);
        let mut missing = self.replay(origin, commit, &mut state);
        if !missing.is_empty() {
            missing.extend(state.settle());
            state.serial += SERIALS_LATER;
        }
        let mut contents = state.into_contents();
        contents.commit = self.last();
        contents.changed = contents.commit;
        Restored {
            contents,
            dump: base,
            missing,
            notes,
        }
    }

    /// Adds the commits after `base`; says what is missing.
    fn replay(&self, origin: &str, base: u64, state: &mut State) -> Vec<String> {
        let mut missing = Vec::new();
        // All commits about the zone are in the state up to this one.
        let mut known = base;
        // Damage since the last head that may have hidden one.
        let mut hidden: Vec<String> = Vec::new();
        for (place, part) in self.parts.iter().enumerate() {
            match &part.segment.head {
                Some(head) if head.last(origin) > known => {
                    let last = head.last(origin);
                    missing.push(lost(known, last, &hidden));
                    (known, hidden) = (last, Vec::new());
                }
                Some(_) => hidden.clear(),
                None => hidden.extend(part.problem.iter().map(|it| part.named(it))),
            }
            for (item, following) in part.segment.items.iter().zip(1..) {
                match item {
                    Item::Record(record) if record.number > known => {
                        for entry in record.zones.get(origin).into_iter().flatten() {
                            state.apply(entry);
                            known = record.number;
                        }
                    }
                    Item::Record(_) => {}
                    Item::Damage(from, to) => {
                        // One that a dump has is not missed. One at the end of all
                        // was acknowledged only if the witness says so.
                        if self
                            .next(place, following)
                            .is_some_and(|next| next > base + 1)
                        {
                            hidden.push(part.damage(*from, *to));
                        }
                    }
                }
            }
        }
        if !hidden.is_empty() {
            missing.push(format!("what stood there: {}", hidden.join(", ")));
        }
        let last = self.journaled().max(base);
        if self.acknowledged > last {
            let last_part = self.parts.last();
            let torn = last_part.map_or_else(Vec::new, |part| part.damages(false));
            missing.push(lost(last, self.acknowledged, &torn));
        }
        missing
    }

    /// The first commit that can be read from that item of a part on.
    fn next(&self, place: usize, item: usize) -> Option<u64> {
        let within = self.parts[place].segment.items[item..].iter();
        let mut within = within.filter_map(|item| match item {
            Item::Record(record) => Some(record.number),
            Item::Damage(..) => None,
        });
        within.next().or_else(|| {
            let mut later = self.parts[place + 1..].iter();
            later.find_map(|part| match &part.segment.head {
                Some(head) => Some(head.after + 1),
                None => part.segment.records().next().map(|it| it.number),
            })
        })
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.parts.iter().map(|part| &part.segment)
    }
}

/// The last commit that a dump of this directory has.
fn dumped(dumps: &Dumps) -> u64 {
    let origins = dumps.origins();
    let commits = origins.iter().filter_map(|origin| {
        let newest = dumps.of(origin).into_iter().next()?;
        dumps.head(&newest, origin).ok()?;
        Some(newest.commit)
    });
    commits.max().unwrap_or(0)
}

/// What is said of commits that are not there.
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

/// Reads a segment; `None` for one that was cut meanwhile.
fn part(path: PathBuf, network: Identity) -> io::Result<Option<Part>> {
    let (segment, problem) = match fs::read(&path) {
        Ok(octets) => match Segment::parse(&octets) {
            Ok(segment) => {
                let strange = segment
                    .head
                    .as_ref()
                    .is_some_and(|it| it.network != network);
                match (strange, segment.head.is_some()) {
                    (true, _) => (empty(), Some("it belongs to another data directory".into())),
                    (false, true) => (segment, None),
                    (false, false) => (segment, Some("its first line is damaged".into())),
                }
            }
            Err(Later(version)) => {
                return Err(io::Error::other(format!(
                    "{} is of a later release: version {version} of its form is not known",
                    path.display()
                )));
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => (empty(), Some(error.to_string())),
    };
    Ok(Some(Part {
        path,
        segment,
        problem,
    }))
}

fn empty() -> Segment {
    Segment {
        head: None,
        items: Vec::new(),
        end: 0,
    }
}

impl Part {
    fn named(&self, problem: &str) -> String {
        format!("{}: {problem}", self.path.display())
    }

    fn damage(&self, from: usize, to: usize) -> String {
        self.named(&format!("octets {from} to {} are damaged", to - 1))
    }

    /// What cannot be read of it; `but_last` leaves out the end, which may not
    /// have been written to its end.
    fn damages(&self, but_last: bool) -> Vec<String> {
        let items = &self.segment.items;
        let left_out = usize::from(but_last && self.segment.is_torn());
        let items = items[..items.len() - left_out].iter();
        items
            .filter_map(|item| match item {
                Item::Damage(from, to) => Some(self.damage(*from, *to)),
                Item::Record(_) => None,
            })
            .collect()
    }
}
