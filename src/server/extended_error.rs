//! Extended errors (RFC 8914): why a query was refused or failed.

use std::borrow::Cow;

/// The option code of an extended error (RFC 8914, section 2).
pub const EXTENDED_ERROR: u16 = 15;

/// The client is not authorized.
const PROHIBITED: u16 = 18;
/// No server that could know the answer has responded.
pub const NO_REACHABLE_AUTHORITY: u16 = 22;
/// The network reported an error for each of these servers.
pub const NETWORK_ERROR: u16 = 23;

/// An extended error: why a query was refused or failed.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendedError {
    pub info_code: u16,
    pub text: Cow<'static, str>,
}

impl ExtendedError {
    /// An error that no info code describes better.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            info_code: 0,
            text: text.into(),
        }
    }

    /// The client is not authorized.
    pub fn prohibited(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            info_code: PROHIBITED,
            ..Self::other(text)
        }
    }

    /// The length of its option with the option header, in octets.
    pub fn octets(&self) -> usize {
        4 + 2 + self.text.len()
    }

    /// Appends its option.
    pub fn write(&self, out: &mut Vec<u8>) {
        let length = 2 + self.text.len() as u16;
        for number in [EXTENDED_ERROR, length, self.info_code] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.text.as_bytes());
    }
}
