//! The secrets of server cookies, and their text form.

use std::io;

use crate::server::config::secret::{Secret, hexadecimal, random, secret};

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

    /// One line each: the creation time of the current secret, the current secret,
    /// and the previous one.
    pub fn text(&self) -> String {
        let previous = self.previous.as_ref().map(hexadecimal).unwrap_or_default();
        let current = hexadecimal(&self.current);
        format!("{}\n{current}\n{previous}\n", self.created)
    }

    /// Reads the text; `None` if it contains no valid secrets.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Some(Self {
            created: lines.next()?.parse().ok()?,
            current: secret(lines.next()?)?,
            previous: lines.next().and_then(secret),
        })
    }
}
