//! The keys of records.

/// The kinds of records that a zone may have many of.
pub const BLOCK: u8 = b'b';
pub const PIN: u8 = b'k';

pub fn key(kind: u8, origin: &str, rest: &[u8]) -> Vec<u8> {
    [&[kind], origin.as_bytes(), b"\0", rest].concat()
}

pub fn pin_key(origin: &str, host: &str) -> Vec<u8> {
    key(PIN, origin, host.as_bytes())
}

pub fn block_key(origin: &str, sequence: &str, place: u32) -> Vec<u8> {
    let rest = [sequence.as_bytes(), b"\0", &place.to_be_bytes()].concat();
    key(BLOCK, origin, &rest)
}

/// The sequence and index in the key of a block, after the origin.
pub fn block_in(rest: &[u8]) -> Option<(&str, u32)> {
    let (sequence, place) = rest.split_last_chunk::<4>()?;
    let sequence = sequence.strip_suffix(b"\0")?;
    let sequence = std::str::from_utf8(sequence).ok()?;
    Some((sequence, u32::from_be_bytes(*place)))
}

pub fn serial_key(origin: &str) -> Vec<u8> {
    [b"s", origin.as_bytes()].concat()
}
