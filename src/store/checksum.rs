//! Checksums of what stands in plain files.

use std::{
    hash::Hasher as _,
    io::{self, Write},
};

use siphasher::sip::SipHasher13;

/// How many digits a checksum has as text.
pub const DIGITS: usize = 16;

/// The checksum of these octets: 64 bits of SipHash-1-3 with the key zero, as 16
/// hexadecimal digits. It finds damage; who may write the files can forge it.
pub fn of(octets: &[u8]) -> String {
    let mut summed = Summed::new(io::sink());
    summed.hasher.write(octets);
    summed.checksum()
}

/// Passes on what is written, and makes a checksum of it.
pub struct Summed<W> {
    out: W,
    hasher: SipHasher13,
}

impl<W> Summed<W> {
    pub fn new(out: W) -> Self {
        let hasher = SipHasher13::new();
        Self { out, hasher }
    }

    /// The checksum of everything so far.
    pub fn checksum(&self) -> String {
        format!("{:016x}", self.hasher.finish())
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.out.write(octets)?;
        self.hasher.write(&octets[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_the_pieces() {
        let octets: Vec<u8> = (0..=255).collect();
        let whole = of(&octets);
        assert_eq!(whole.len(), DIGITS);
        for piece in [1, 3, 8, 100] {
            let mut summed = Summed::new(Vec::new());
            for part in octets.chunks(piece) {
                summed.write_all(part).unwrap();
            }
            assert_eq!(summed.checksum(), whole, "pieces of {piece}");
            assert_eq!(summed.into_inner(), octets);
        }
        assert_ne!(of(&octets[1..]), whole);
        // What stands in files must be read by every later release.
        assert_eq!(of(b""), "d1fba762150c532c");
    }
}
