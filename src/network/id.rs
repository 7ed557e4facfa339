//! Names of things in a network: hosts, roles, sequences and the IDs they give.

use std::{fmt, str::FromStr};

use smol_str::SmolStr;

/// A host name: one label of letters, digits, `-` and `_` that starts with a
/// letter or a digit, at most 63 octets (RFC 1035, section 2.3.4). It is kept in
/// lower case, since DNS names compare without regard to case (RFC 4343).
///
/// Names of up to 23 bytes, which nearly all are, are stored inline: there may be
/// very many, and each heartbeat compares one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(SmolStr);

/// The text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host name is one label of at most 63 letters, digits, - and _ that starts with a letter or digit"
)]
pub struct NotAHostname;

impl Hostname {
    /// Parses a label in any case.
    pub fn from_label(label: &[u8]) -> Result<Self, NotAHostname> {
        let first = label.first().ok_or(NotAHostname)?;
        let valid = first.is_ascii_alphanumeric()
            && label.len() <= 63
            && label
                .iter()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        if !valid {
            return Err(NotAHostname);
        }
        let lower = label.iter().map(|c| char::from(c.to_ascii_lowercase()));
        Ok(Self(lower.collect()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = NotAHostname;

    fn from_str(text: &str) -> Result<Self, NotAHostname> {
        Self::from_label(text.as_bytes())
    }
}

/// Allows lookups by `&str` in maps that are keyed by host names.
impl std::borrow::Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sequence of IDs, as an index into [`Rules::sequences`](super::Rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u16);

/// A role, as an index into [`Rules::roles`](super::Rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(pub u16);

/// A peer's ID: a number of a sequence. `vp1` is number 1 of the sequence `vp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId {
    pub sequence: Sequence,
    pub number: u32,
}
