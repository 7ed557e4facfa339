//! Records and names as they stand in a message, and where they end (RFC 1035,
//! section 4.1).

use std::ops::Range;

/// Where the parts of a record stand in a message.
#[derive(Debug)]
pub struct RecordPlace {
    pub owner: Range<usize>,
    pub rtype: u16,
    pub ttl: [u8; 4],
    pub data: Range<usize>,
}

impl RecordPlace {
    /// The record that stands there, if it ends within the message.
    pub fn read(message: &[u8], start: usize) -> Option<Self> {
        let owner = start..end_of_name(message, start)?;
        let fixed = message.get(owner.end..)?.first_chunk::<10>()?;
        let [t1, t0, _, _, ttl @ .., l1, l0] = *fixed;
        let data = owner.end + fixed.len();
        let end = data + usize::from(u16::from_be_bytes([l1, l0]));
        (end <= message.len()).then_some(Self {
            owner,
            rtype: u16::from_be_bytes([t1, t0]),
            ttl,
            data: data..end,
        })
    }
}

/// Where the name ends that starts there: behind the root's label, or a pointer.
pub fn end_of_name(message: &[u8], mut place: usize) -> Option<usize> {
    loop {
        let length = *message.get(place)?;
        match length {
            0 => return Some(place + 1),
            1..=63 => place += 1 + usize::from(length),
            0xc0.. => return (place + 2 <= message.len()).then_some(place + 2),
            // Kinds of labels that there are not (RFC 6891, section 5).
            _ => return None,
        }
    }
}
