//! Secrets: what cookies are made with, and where they are kept.

use std::{fs, io, path::Path};

use crate::store::files;

use crate::server::config::secret::{Secret, hexadecimal, random, secret};

/// How long a secret of the service's own is used for new cookies, in seconds.
const ROTATION: u32 = 24 * 3_600;

/// The secrets of one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secrets {
    /// Makes new cookies.
    pub current: Secret,
    /// Cookies that it has made are good still: none is refused before its time.
    pub previous: Option<Secret>,
    /// When the current one was made, in seconds since 1970.
    pub since: u32,
}

impl Secrets {
    /// A random one after the previous one.
    ///
    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub fn new(previous: Option<Secret>, now: u32) -> io::Result<Self> {
        Ok(Self {
            current: random()?,
            previous,
            since: now,
        })
    }

    /// Whether it is time for a new one.
    pub fn are_old(&self, now: u32) -> bool {
        // A clock that was set back is no reason to wait for longer.
        let age = now.checked_sub(self.since).unwrap_or(ROTATION);
        age >= ROTATION
    }

    /// What is kept in the file, if there are secrets in it.
    pub fn read(file: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file).ok()?)
    }

    /// Replaces the file, which only its owner may read, as a whole or not at all.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        files::write(file, files::PRIVATE, self.text().as_bytes())
    }

    /// One line each: when the current one was made, it, and the previous one.
    fn text(&self) -> String {
        let previous = self.previous.as_ref().map(hexadecimal).unwrap_or_default();
        let current = hexadecimal(&self.current);
        format!("{}\n{current}\n{previous}\n", self.since)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Some(Self {
            since: lines.next()?.parse().ok()?,
            current: secret(lines.next()?)?,
            previous: lines.next().and_then(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_they_were_written() {
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
            assert_eq!(read.since, secrets.since);
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
    fn a_clock_that_was_set_back_makes_secrets_old() {
        let secrets = Secrets::new(None, 1_000_000).unwrap();
        for (now, are_old) in [
            (1_000_000, false),
            (1_000_000 + ROTATION - 1, false),
            (1_000_000 + ROTATION, true),
            (999_999, true),
        ] {
            assert_eq!(secrets.are_old(now), are_old, "{now}");
        }
    }
}
