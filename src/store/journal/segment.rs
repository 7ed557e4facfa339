//! A segment of the journal: one file, and what can be read of it.

use serde::Deserialize;

use super::record::{self, Head, Record, VERSION};

/// What octets are as a segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    /// `None` where it cannot be read.
    pub head: Option<Head>,
    pub items: Vec<Item>,
    /// Behind the last line that can be read.
    pub end: usize,
}

/// A part of a segment behind its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Record(Record),
    /// Octets of no commit: all from the first to before the second place.
    Damage(usize, usize),
}

/// The journal is of a later release, in a form of that version.
#[derive(Debug, PartialEq, Eq)]
pub struct Later(pub u32);

#[derive(Deserialize)]
struct Versioned {
    journal: u32,
}

impl Segment {
    /// Reads a segment. Nothing of it is believed that does not fit its checksum,
    /// and no commit that has not a higher number than those before.
    pub fn parse(octets: &[u8]) -> Result<Self, Later> {
        // Behind the last line are the zeros that the file was made longer by.
        let length = octets.iter().rposition(|octet| *octet != 0);
        let octets = &octets[..length.map_or(0, |place| place + 1)];
        let mut segment = Self {
            head: None,
            items: Vec::new(),
            end: 0,
        };
        let (mut start, mut last) = (0, 0);
        while start < octets.len() {
            let rest = &octets[start..];
            let line = rest.iter().position(|octet| *octet == b'\n');
            let stop = start + line.map_or(rest.len(), |place| place + 1);
            let payload = line.and_then(|place| record::payload(&rest[..place]));
            match payload {
                Some(payload) if start == 0 && payload.starts_with(b"{") => {
                    segment.head = head(payload)?;
                    last = segment.head.as_ref().map_or(0, |head| head.after);
                }
                payload => match payload.and_then(record::record) {
                    Some(record) if record.number > last => {
                        last = record.number;
                        segment.items.push(Item::Record(record));
                    }
                    _ => {
                        segment.damage(start, stop);
                        start = stop;
                        continue;
                    }
                },
            }
            segment.end = stop;
            start = stop;
        }
        Ok(segment)
    }

    fn damage(&mut self, start: usize, stop: usize) {
        match self.items.last_mut() {
            Some(Item::Damage(_, end)) => *end = stop,
            _ => self.items.push(Item::Damage(start, stop)),
        }
    }

    /// The commits that can be read.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.items.iter().filter_map(|item| match item {
            Item::Record(record) => Some(record),
            Item::Damage(..) => None,
        })
    }

    /// The last commit of it, or before it.
    pub fn last(&self) -> u64 {
        let after = self.head.as_ref().map_or(0, |head| head.after);
        self.records().last().map_or(after, |record| record.number)
    }

    /// The head that a next segment has.
    pub fn next_head(&self) -> Option<Head> {
        let mut head = self.head.clone()?;
        for record in self.records() {
            let zones = record.zones.keys();
            head.zones
                .extend(zones.map(|it| (it.clone(), record.number)));
        }
        head.after = self.last();
        Some(head)
    }

    /// Whether something stands behind the last line that can be read: a commit
    /// that was not written to its end, and so was acknowledged to nobody; or
    /// damage.
    pub fn is_torn(&self) -> bool {
        matches!(self.items.last(), Some(Item::Damage(..)))
    }

    /// Whether all of it can be read, but what stands behind the last line.
    pub fn is_whole(&self) -> bool {
        let places = self.items.len() - usize::from(self.is_torn());
        let lines = self.items[..places].iter();
        self.head.is_some() && !lines.into_iter().any(|it| matches!(it, Item::Damage(..)))
    }
}

fn head(payload: &[u8]) -> Result<Option<Head>, Later> {
    match serde_json::from_slice(payload) {
        Ok(Versioned { journal }) if journal > VERSION => Err(Later(journal)),
        _ => Ok(serde_json::from_slice(payload).ok()),
    }
}
