//! The identity of a data directory.

use std::{fmt, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::files;

/// A random value that is generated with the first store of a data directory, and
/// that its database, dumps and journal carry. A store that was copied from
/// elsewhere has another identity.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity([u8; 16]);

impl Identity {
    /// Generates an identity.
    ///
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// Reads an identity from a file; `None` if the file is missing or
    /// incomplete.
    ///
    /// # Errors
    ///
    /// The file exists and cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(String::from_utf8_lossy(&bytes).trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        // `from_str_radix` accepts a sign.
        let is_hexadecimal = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_whole = text.len() == 32 && is_hexadecimal;
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_whole)?;
        Some(Self(number.to_be_bytes()))
    }

    pub fn write(self, path: &Path) -> io::Result<()> {
        files::write(path, files::SHARED, format!("{self}\n").as_bytes())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl TryFrom<String> for Identity {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("an identity is 32 hexadecimal digits")
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}
