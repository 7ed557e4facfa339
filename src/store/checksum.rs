//! Checksums of plain files.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// The length of a checksum as text.
pub const DIGITS: usize = 16;

/// The checksum of these bytes: 64 bits of SipHash-1-3 with a key of zeros, as 16
/// hexadecimal digits. It detects damage, but anyone who can write the files can
/// forge it.
pub fn of(bytes: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_stays_the_same() {
        // Later releases must read existing files.
        assert_eq!(of(b""), "d1fba762150c532c");
        assert_ne!(of(b"a"), of(b"b"));
        assert_eq!(of(b"a").len(), DIGITS);
    }
}
