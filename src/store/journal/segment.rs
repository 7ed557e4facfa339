//! A segment of the journal: one file and its readable contents.

use std::ops::Range;

use serde::Deserialize;

use super::record::{self, Head, Record, VERSION};

/// The contents of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// `None` if the head cannot be read.
    pub head: Option<Head>,
    pub items: Vec<Item>,
    /// The end of the last readable line.
    pub end: usize,
}

/// A part of a segment after its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Record(Record),
    /// A range of bytes that is not a valid commit.
    Damage(Range<usize>),
}

impl Item {
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Damage(..) => None,
        }
    }
}

/// The journal was written by a later release, in this version of the format.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownVersion(pub u32);

#[derive(Deserialize)]
struct Versioned {
    journal: u32,
}

impl Segment {
    /// Parses a segment. Rejects lines with a wrong checksum, and commits whose
    /// number is not higher than those before.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnknownVersion> {
        // The file is padded with zeros.
        let length = bytes.iter().rposition(|byte| *byte != 0);
        let bytes = &bytes[..length.map_or(0, |place| place + 1)];
        let mut segment = Self::default();
        let (mut start, mut last) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let stop = start + line.len();
            let payload = line.strip_suffix(b"\n").and_then(record::payload);
            match payload {
                Some(payload) if start == 0 && payload.starts_with(b"{") => {
                    segment.head = head(payload)?;
                    last = segment.last();
                    segment.end = stop;
                }
                payload => match payload.and_then(record::record) {
                    Some(record) if record.number > last => {
                        last = record.number;
                        segment.items.push(Item::Record(record));
                        segment.end = stop;
                    }
                    _ => segment.damage(start, stop),
                },
            }
            start = stop;
        }
        Ok(segment)
    }

    fn damage(&mut self, start: usize, stop: usize) {
        match self.items.last_mut() {
            Some(Item::Damage(range)) => range.end = stop,
            _ => self.items.push(Item::Damage(start..stop)),
        }
    }

    /// The readable commits.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.items.iter().filter_map(Item::record)
    }

    /// The last commit in the segment, or else before it.
    pub fn last(&self) -> u64 {
        let after = self.head.as_ref().map_or(0, |head| head.after);
        self.records().last().map_or(after, |record| record.number)
    }

    /// The head of the next segment.
    pub fn next_head(&self) -> Option<Head> {
        let mut head = self.head.clone()?;
        for record in self.records() {
            record::note(&mut head.zones, record.number, &record.writes);
        }
        head.after = self.last();
        Some(head)
    }

    /// Whether anything follows the last readable line: a commit that was not
    /// written completely, and so was never acknowledged, or damage.
    pub fn is_torn(&self) -> bool {
        matches!(self.items.last(), Some(Item::Damage(..)))
    }

    /// Whether everything up to the last readable line is readable.
    pub fn is_whole(&self) -> bool {
        let places = self.items.len() - usize::from(self.is_torn());
        self.head.is_some() && self.records().count() == places
    }
}

fn head(payload: &[u8]) -> Result<Option<Head>, UnknownVersion> {
    match serde_json::from_slice(payload) {
        Ok(Versioned { journal }) if journal > VERSION => Err(UnknownVersion(journal)),
        _ => Ok(serde_json::from_slice(payload).ok()),
    }
}
