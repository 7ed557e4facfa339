//! Checksums of plain files.

use std::{
    hash::Hasher as _,
    io::{self, Write},
};

use siphasher::sip::SipHasher13;

/// The length of a checksum as text.
pub const DIGITS: usize = 16;

/// The checksum of these bytes: 64 bits of SipHash-1-3 with a key of zeros, as 16
/// hexadecimal digits. It detects damage, but anyone who can write the files can
/// forge it.
pub fn of(bytes: &[u8]) -> String {
    let mut summed = ChecksumWriter::new(io::sink());
    summed.hasher.write(bytes);
    summed.checksum()
}

/// A writer that computes the checksum of what passes through it.
pub struct ChecksumWriter<W> {
    out: W,
    hasher: SipHasher13,
}

impl<W> ChecksumWriter<W> {
    pub fn new(out: W) -> Self {
        let hasher = SipHasher13::new();
        Self { out, hasher }
    }

    /// The checksum of everything written so far.
    pub fn checksum(&self) -> String {
        format!("{:016x}", self.hasher.finish())
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for ChecksumWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.write(&bytes[..written]);
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
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = of(&bytes);
        assert_eq!(whole.len(), DIGITS);
        for piece in [1, 3, 8, 100] {
            let mut summed = ChecksumWriter::new(Vec::new());
            for part in bytes.chunks(piece) {
                summed.write_all(part).unwrap();
            }
            assert_eq!(summed.checksum(), whole, "pieces of {piece}");
            assert_eq!(summed.into_inner(), bytes);
        }
        assert_ne!(of(&bytes[1..]), whole);
        // Later releases must read existing files.
        assert_eq!(of(b""), "d1fba762150c532c");
    }
}
