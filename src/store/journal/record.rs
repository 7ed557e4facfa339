//! The lines of a journal: what is in one, and how it is written and read.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::store::{Identity, Pin, Registration, Write, checksum};

/// The version that is written. A later release that writes another form gives
/// it another version, and reads this one still.
pub const VERSION: u32 = 1;

/// The first line of a segment: what the store was like before its first commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the form.
    pub journal: u32,
    /// The data directory that it belongs to.
    pub network: Identity,
    /// The last commit before this segment.
    pub after: u64,
    /// By origin: the last commit before this segment that was about the zone.
    pub zones: BTreeMap<String, u64>,
    /// The same for every other zone: 0 where the journal has been kept since the
    /// store was made.
    pub others: u64,
}

impl Head {
    /// That of a journal which begins after a commit, and knows nothing of what
    /// stands before it.
    pub fn new(network: Identity, after: u64) -> Self {
        Self {
            journal: VERSION,
            network,
            after,
            zones: BTreeMap::new(),
            others: after,
        }
    }

    /// The last commit before this segment that was about the zone, or a later
    /// one where that is not known.
    pub fn last(&self, origin: &str) -> u64 {
        self.zones.get(origin).copied().unwrap_or(self.others)
    }
}

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of the commit.
    pub number: u64,
    /// By origin, in their order.
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
    /// Whether it is about a registration or a pin.
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
    /// The same for a store. The zones follow each other, as none has to do with
    /// another.
    pub fn writes(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        for (origin, entries) in &self.zones {
            let origin: Arc<str> = origin.as_str().into();
            writes.extend(entries.iter().map(|entry| entry.to_write(origin.clone())));
        }
        writes
    }
}

/// The line of a segment's head.
pub fn head_line(head: &Head) -> serde_json::Result<Vec<u8>> {
    line(|payload| serde_json::to_writer(payload, head))
}

/// The line of a commit: its number, and what it wrote of each zone.
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

/// The line with this payload, which has no line breaks.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let checksum = checksum::of(payload);
    [checksum.as_bytes(), b" ", payload, b"\n"].concat()
}

/// The same without a copy of the payload, which is JSON and may be long.
fn line(fill: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> serde_json::Result<Vec<u8>> {
    let mut line = vec![b' '; checksum::DIGITS + 1];
    fill(&mut line)?;
    let checksum = checksum::of(&line[checksum::DIGITS + 1..]);
    line[..checksum::DIGITS].copy_from_slice(checksum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// What a line has behind its checksum, if it fits that.
pub fn payload(line: &[u8]) -> Option<&[u8]> {
    let (stated, rest) = line.split_at_checked(checksum::DIGITS)?;
    let payload = rest.strip_prefix(b" ")?;
    (stated == checksum::of(payload).as_bytes()).then_some(payload)
}

/// The commit in a payload.
pub fn record(payload: &[u8]) -> Option<Record> {
    let place = payload.iter().position(|octet| *octet == b' ')?;
    let number = std::str::from_utf8(&payload[..place]).ok()?;
    Some(Record {
        number: number.parse().ok()?,
        zones: serde_json::from_slice(&payload[place + 1..]).ok()?,
    })
}
