//! Secrets of 128 bits: their text form in the configuration, and their generation.

use std::io;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// The key of SipHash-2-4.
pub type Secret = [u8; 16];

/// Formats a secret as 32 hexadecimal digits.
pub fn hexadecimal(secret: &Secret) -> String {
    HEXLOWER.encode(secret)
}

/// Parses a secret, which consists of 32 hexadecimal digits.
pub fn secret(text: &str) -> Option<Secret> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}

/// Generates a secret.
///
/// # Errors
///
/// The operating system provides no random numbers.
pub fn random() -> io::Result<Secret> {
    let mut secret = Secret::default();
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret)
}
