//! Secrets of 128 bits: their text form in the configuration, and their generation.

use std::{
    fs::File,
    io::{self, Read as _},
};

/// The key of SipHash-2-4.
pub type Secret = [u8; 16];

/// Formats a secret as 32 hexadecimal digits.
pub fn hexadecimal(secret: &Secret) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a secret, which consists of 32 hexadecimal digits.
pub fn secret(text: &str) -> Option<Secret> {
    let is_hexadecimal = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if text.len() != 32 || !is_hexadecimal {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Generates a secret.
///
/// # Errors
///
/// The operating system provides no random numbers.
pub fn random() -> io::Result<Secret> {
    let mut secret = Secret::default();
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}
