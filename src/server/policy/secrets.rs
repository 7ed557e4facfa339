//! The secrets of server cookies, and the file that stores them.

use std::{fs, io, path::Path};

use crate::{
    server::config::secret::{Secret, hexadecimal, random, secret},
    store::files,
};

/// How long a generated secret is used for new cookies, in seconds.
const ROTATION: u32 = 24 * 3_600;

/// The secrets that are valid at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secrets {
    /// Generates new cookies.
    pub current: Secret,
    /// Still verifies the cookies that it generated, so that none becomes invalid
    /// early.
    pub previous: Option<Secret>,
    /// When the current secret was generated, in seconds since 1970.
    pub created: u32,
}

impl Secrets {
    /// Generates a secret that succeeds `previous`.
    ///
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn new(previous: Option<Secret>, now: u32) -> io::Result<Self> {
        Ok(Self {
            current: random()?,
            previous,
            created: now,
        })
    }

    /// Returns whether the current secret is due for rotation.
    pub fn are_due(&self, now: u32) -> bool {
        // If the clock was set back, the secret is rotated at once.
        let age = now.checked_sub(self.created).unwrap_or(ROTATION);
        age >= ROTATION
    }

    /// Reads the secrets from the file; `None` if it contains no valid ones.
    pub fn read(file: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file).ok()?)
    }

    /// Replaces the file atomically. Only its owner may read it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        files::write(file, files::PRIVATE, self.text().as_bytes())
    }

    /// One line each: the creation time of the current secret, the current secret,
    /// and the previous one.
    pub fn text(&self) -> String {
        let previous = self.previous.as_ref().map(hexadecimal).unwrap_or_default();
        let current = hexadecimal(&self.current);
        format!("{}\n{current}\n{previous}\n", self.created)
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Some(Self {
            created: lines.next()?.parse().ok()?,
            current: secret(lines.next()?)?,
            previous: lines.next().and_then(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_writing_and_reading() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("secrets");
        assert!(Secrets::read(&file).is_none());
        let first = Secrets::new(None, 7).unwrap();
        let second = Secrets::new(Some(first.current), 8).unwrap();
        assert_ne!(first.current, second.current);
        for secrets in [first, second] {
            secrets.write(&file).unwrap();
            let read = Secrets::read(&file).unwrap();
            assert_eq!(read.current, secrets.current);
            assert_eq!(read.previous, secrets.previous);
            assert_eq!(read.created, secrets.created);
        }
        for text in [
            "",
            "7\n",
            "x\n00",
            "7\n00\n",
            "7\n+0000000000000000000000000000000\n",
        ] {
            fs::write(&file, text).unwrap();
            assert!(Secrets::read(&file).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_rotation_due() {
        let secrets = Secrets::new(None, 1_000_000).unwrap();
        for (now, are_due) in [
            (1_000_000, false),
            (1_000_000 + ROTATION - 1, false),
            (1_000_000 + ROTATION, true),
            (999_999, true),
        ] {
            assert_eq!(secrets.are_due(now), are_due, "{now}");
        }
    }
}
