//! The format of a dump: JSON with a version and a checksum, for people and
//! programs.
//!
//! ```json
//! {"version":2,"origin":"test.internal.","serial":65537,"commit":3,"made":"2026-01-31T12:00:00Z","network":"5b1c…",
//! "peers":[
//! {"host":"a","sequence":"vp","number":0,"role":"mixed","source":"10.0.0.1","address":"10.0.0.1"}
//! ],
//! "pins":[
//! ],
//! "checksum":"0123456789abcdef"}
//! ```
//!
//! The first line has everything except the peers and pins, so that a dump can be
//! identified by it. The checksum covers the bytes of the file before its own
//! line, including the line break. Version 1, of an earlier release, had no
//! checksum, no commit and no time.

use std::{
    fmt,
    io::{self, BufRead, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::store::{Contents, Identity, Pin, Registration, checksum};

/// The version that is written.
pub const VERSION: u32 = 2;

/// The maximum length of the first line.
const MAX_HEAD_BYTES: u64 = 4_096;

/// The first line of a dump. A later format gets another version, and this one
/// remains readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub version: u32,
    /// Absolute, in lower case.
    pub origin: String,
    /// Every SOA serial below this one may have been published when the dump was
    /// made.
    pub serial: u64,
    /// The last commit of its store that the dump includes. `None` if no journal
    /// continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Timestamp>,
    /// The data directory that the dump belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Identity>,
}

/// The time of a dump, in seconds since 1970; as text in the format of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(pub u64);

impl Timestamp {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(0, |since| since.as_secs()))
    }

    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// The day, counted from 1970.
    pub fn day(self) -> u64 {
        self.0 / 86_400
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.time()).fmt(f)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let time = humantime::parse_rfc3339(&text)?;
        let since = time.duration_since(UNIX_EPOCH);
        Ok(Self(since.map_or(0, |since| since.as_secs())))
    }
}

impl From<Timestamp> for String {
    fn from(made: Timestamp) -> Self {
        made.to_string()
    }
}

/// The registrations of a zone at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    pub head: Head,
    pub peers: Vec<Registration>,
    /// The IDs that are reserved for hosts, registered or not.
    pub pins: Vec<Pin>,
}

/// Why a file is not a valid dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not a dump ({0})")]
    NotADump(#[from] serde_json::Error),
    #[error("its version {0} is not supported by this release")]
    UnknownVersion(u32),
    #[error("it does not match its checksum: it was damaged or edited")]
    Checksum,
    #[error("it has no checksum")]
    NoChecksum,
}

/// What to do with a dump that has no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingChecksum {
    /// It was edited by hand, or made by an earlier release.
    Accept,
    Reject,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    origin: String,
    serial: u64,
    commit: Option<u64>,
    made: Option<Timestamp>,
    network: Option<Identity>,
    peers: Vec<Registration>,
    #[serde(default)]
    pins: Vec<Pin>,
    #[serde(rename = "checksum")]
    _checksum: Option<String>,
}

impl Head {
    /// The head of a dump that is made now.
    pub fn now(origin: String, serial: u64) -> Self {
        Self {
            version: VERSION,
            origin,
            serial,
            commit: None,
            made: Some(Timestamp::now()),
            network: None,
        }
    }

    /// Reads the first line of a dump.
    pub fn read(from: impl BufRead) -> Result<Self, DumpError> {
        let mut line = String::new();
        from.take(MAX_HEAD_BYTES).read_line(&mut line)?;
        let line = line.trim_end().trim_end_matches(',').to_owned() + "}";
        Ok(serde_json::from_str(&line)?)
    }
}

impl Dump {
    /// A dump, made now, of the contents of a store.
    pub fn now(origin: &str, contents: Contents) -> Self {
        Self {
            head: Head::now(origin.to_owned(), contents.serial),
            peers: contents.registrations,
            pins: contents.pins,
        }
    }

    pub fn contents(self) -> Contents {
        Contents {
            registrations: self.peers,
            pins: self.pins,
            serial: self.head.serial,
            commit: self.head.commit.unwrap_or(0),
            changed: self.head.commit.unwrap_or(0),
        }
    }

    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&self.to_bytes()?)
    }

    /// The whole file.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let head = serde_json::to_string(&self.head)?;
        writeln!(bytes, "{},", head.trim_end_matches('}'))?;
        list(&mut bytes, "peers", &self.peers)?;
        list(&mut bytes, "pins", &self.pins)?;
        let checksum = checksum::of(&bytes);
        writeln!(bytes, "{CHECKSUM}{checksum}{END}")?;
        Ok(bytes)
    }

    /// Reads a dump of any version.
    pub fn read(bytes: &[u8], missing_checksum: MissingChecksum) -> Result<Self, DumpError> {
        match serde_json::from_slice(bytes) {
            Ok(Versioned { version }) if version > VERSION => {
                return Err(DumpError::UnknownVersion(version));
            }
            _ => {}
        }
        let sound = verify(bytes);
        let whole: Whole = serde_json::from_slice(bytes).map_err(|error| match sound {
            // Damage usually breaks the format as well, and the checksum tells more.
            Err(DumpError::Checksum) => DumpError::Checksum,
            _ => DumpError::NotADump(error),
        })?;
        match sound {
            Err(DumpError::NoChecksum) if missing_checksum == MissingChecksum::Accept => {}
            sound => sound?,
        }
        Ok(Self {
            head: Head {
                version: whole.version,
                origin: whole.origin,
                serial: whole.serial,
                commit: whole.commit,
                made: whole.made,
                network: whole.network,
            },
            peers: whole.peers,
            pins: whole.pins,
        })
    }
}

/// The text around the checksum.
const CHECKSUM: &str = "\"checksum\":\"";
const END: &str = "\"}";

/// Verifies the checksum of a dump.
pub fn verify(bytes: &[u8]) -> Result<(), DumpError> {
    // The checksum is expected at the end only: elsewhere it would be that of
    // other bytes.
    let text = bytes.trim_ascii_end();
    let length = CHECKSUM.len() + checksum::DIGITS + END.len();
    let (summed, last) = text.split_at(text.len().saturating_sub(length));
    let stated = last
        .strip_prefix(CHECKSUM.as_bytes())
        .and_then(|rest| rest.strip_suffix(END.as_bytes()));
    let mut windows = bytes.windows(CHECKSUM.len());
    match stated {
        Some(stated) if stated == checksum::of(summed).as_bytes() => Ok(()),
        None if !windows.any(|it| it == CHECKSUM.as_bytes()) => Err(DumpError::NoChecksum),
        _ => Err(DumpError::Checksum),
    }
}

/// Writes a list with one line for each item.
fn list<T: Serialize>(out: &mut Vec<u8>, name: &str, items: &[T]) -> io::Result<()> {
    writeln!(out, "\"{name}\":[")?;
    for (place, item) in items.iter().enumerate() {
        serde_json::to_writer(&mut *out, item)?;
        writeln!(out, "{}", if place + 1 < items.len() { "," } else { "" })?;
    }
    writeln!(out, "],")
}
