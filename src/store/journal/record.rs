//! The lines of a journal.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::store::{Identity, Pin, Registration, Write, checksum};

/// The version that is written. A later format gets another version, and this one
/// remains readable.
pub const VERSION: u32 = 1;

/// The first line of a segment: the state of the store before its first commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the format.
    pub journal: u32,
    /// The data directory that it belongs to.
    pub network: Identity,
    /// The last commit before this segment.
    pub after: u64,
    /// By origin: the last commit about the zone before this segment.
    pub zones: BTreeMap<String, u64>,
    /// The same for all other zones: 0 if the journal has existed since the store
    /// was created.
    pub others: u64,
}

impl Head {
    /// The head of a journal that starts after a commit and knows nothing about
    /// earlier commits.
    pub fn new(network: Identity, after: u64) -> Self {
        Self {
            journal: VERSION,
            network,
            after,
            zones: BTreeMap::new(),
            others: after,
        }
    }

    /// The last commit about the zone before this segment, or a later one if that
    /// is not known.
    pub fn last(&self, origin: &str) -> u64 {
        self.zones.get(origin).copied().unwrap_or(self.others)
    }
}

/// The writes of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of the commit.
    pub number: u64,
    /// By origin; the writes of a zone are in order.
    pub zones: BTreeMap<String, Vec<Entry<'static>>>,
}

/// A write without its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry<'a> {
    Put(Cow<'a, Registration>),
    Delete {
        host: Cow<'a, str>,
        sequence: Cow<'a, str>,
        number: u32,
    },
    Pin(Cow<'a, Pin>),
    Unpin {
        host: Cow<'a, str>,
    },
    Serial(u64),
}

impl<'a> From<&'a Write> for Entry<'a> {
    fn from(write: &'a Write) -> Self {
        match write {
            Write::Put { registration, .. } => Self::Put(Cow::Borrowed(registration)),
            Write::Delete {
                host,
                sequence,
                number,
                ..
            } => Self::Delete {
                host: host.into(),
                sequence: sequence.into(),
                number: *number,
            },
            Write::Pin { pin, .. } => Self::Pin(Cow::Borrowed(pin)),
            Write::Unpin { host, .. } => Self::Unpin { host: host.into() },
            Write::Serial { serial, .. } => Self::Serial(*serial),
        }
    }
}

impl Entry<'_> {
    /// Whether it concerns a registration or a pin.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Serial(_))
    }

    fn to_write(&self, origin: Arc<str>) -> Write {
        match self.clone() {
            Self::Put(registration) => Write::Put {
                origin,
                registration: registration.into_owned(),
            },
            Self::Delete {
                host,
                sequence,
                number,
            } => Write::Delete {
                origin,
                host: host.into_owned(),
                sequence: sequence.into_owned(),
                number,
            },
            Self::Pin(pin) => Write::Pin {
                origin,
                pin: pin.into_owned(),
            },
            Self::Unpin { host } => Write::Unpin {
                origin,
                host: host.into_owned(),
            },
            Self::Serial(serial) => Write::Serial { origin, serial },
        }
    }
}

impl Record {
    /// The writes for a store. The zones follow one another, since they are
    /// independent.
    pub fn writes(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        for (origin, entries) in &self.zones {
            let origin: Arc<str> = origin.as_str().into();
            writes.extend(entries.iter().map(|entry| entry.to_write(origin.clone())));
        }
        writes
    }
}

/// The line of a head.
pub fn head_line(head: &Head) -> serde_json::Result<Vec<u8>> {
    line(|payload| serde_json::to_writer(payload, head))
}

/// The line of a commit: its number, and its writes by zone.
pub fn record_line(number: u64, writes: &[Write]) -> serde_json::Result<Vec<u8>> {
    let mut zones: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for write in writes {
        let entries = zones.entry(write.origin()).or_default();
        entries.push(write.into());
    }
    line(|payload| {
        payload.extend_from_slice(format!("{number} ").as_bytes());
        serde_json::to_writer(payload, &zones)
    })
}

/// A line with this payload, which must not contain line breaks.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let checksum = checksum::of(payload);
    [checksum.as_bytes(), b" ", payload, b"\n"].concat()
}

/// Like [`frame`], without copying the payload, which is JSON and may be long.
fn line(fill: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> serde_json::Result<Vec<u8>> {
    let mut line = vec![b' '; checksum::DIGITS + 1];
    fill(&mut line)?;
    let checksum = checksum::of(&line[checksum::DIGITS + 1..]);
    line[..checksum::DIGITS].copy_from_slice(checksum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// The payload of a line, if the checksum is right.
pub fn payload(line: &[u8]) -> Option<&[u8]> {
    let (stated, rest) = line.split_at_checked(checksum::DIGITS)?;
    let payload = rest.strip_prefix(b" ")?;
    (stated == checksum::of(payload).as_bytes()).then_some(payload)
}

/// Parses the payload of a commit.
pub fn record(payload: &[u8]) -> Option<Record> {
    let place = payload.iter().position(|byte| *byte == b' ')?;
    let number = std::str::from_utf8(&payload[..place]).ok()?;
    Some(Record {
        number: number.parse().ok()?,
        zones: serde_json::from_slice(&payload[place + 1..]).ok()?,
    })
}
