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

/// Notes the commit as the last one about the zones of these writes.
pub fn note<'w>(
    zones: &mut BTreeMap<String, u64>,
    commit: u64,
    writes: impl IntoIterator<Item = &'w Write>,
) {
    for origin in writes.into_iter().map(Write::origin) {
        match zones.get_mut(&**origin) {
            Some(last) => *last = commit,
            None => {
                zones.insert(origin.to_string(), commit);
            }
        }
    }
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of the commit.
    pub number: u64,
    /// The writes, by zone. Those of a zone are in order, and the zones are
    /// independent.
    pub writes: Vec<Write>,
}

/// A write without its origin.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Entry<'a> {
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
    fn into_write(self, origin: Arc<str>) -> Write {
        match self {
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

/// The line of a head.
pub fn head_line(head: &Head) -> serde_json::Result<Vec<u8>> {
    Ok(frame(&serde_json::to_vec(head)?))
}

/// The line of a commit: its number, and its writes by zone.
pub fn record_line(number: u64, writes: &[Write]) -> serde_json::Result<Vec<u8>> {
    let mut zones: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for write in writes {
        let entries = zones.entry(write.origin()).or_default();
        entries.push(write.into());
    }
    let mut payload = format!("{number} ").into_bytes();
    serde_json::to_writer(&mut payload, &zones)?;
    Ok(frame(&payload))
}

/// A line with this payload, which must not contain line breaks.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let checksum = checksum::of(payload);
    [checksum.as_bytes(), b" ", payload, b"\n"].concat()
}

/// The payload of a line, if the checksum is right.
pub fn payload(line: &[u8]) -> Option<&[u8]> {
    let (stated, rest) = line.split_at_checked(checksum::DIGITS)?;
    let payload = rest.strip_prefix(b" ")?;
    (stated == checksum::of(payload).as_bytes()).then_some(payload)
}

/// Parses the payload of a commit.
pub fn record(payload: &[u8]) -> Option<Record> {
    let (number, zones) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    let zones: BTreeMap<String, Vec<Entry<'_>>> = serde_json::from_str(zones).ok()?;
    let mut writes = Vec::new();
    for (origin, entries) in zones {
        let origin: Arc<str> = origin.into();
        let entries = entries.into_iter();
        writes.extend(entries.map(|entry| entry.into_write(origin.clone())));
    }
    let number = number.parse().ok()?;
    Some(Record { number, writes })
}
