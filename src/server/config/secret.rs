//! Secrets of 128 bits: as the configuration has them, and new ones.

use std::{
    fs::File,
    io::{self, Read as _},
};

/// The key of SipHash-2-4.
pub type Secret = [u8; 16];

/// A secret as it is written.
pub fn hexadecimal(secret: &Secret) -> String {
    secret.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A secret as 32 hexadecimal digits.
pub fn secret(text: &str) -> Option<Secret> {
    let is_hexadecimal = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if text.len() != 32 || !is_hexadecimal {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// A new secret.
///
/// # Errors
///
/// The operating system gives no random numbers.
pub fn random() -> io::Result<Secret> {
    let mut secret = Secret::default();
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}
