//! The positions of records and names in a message (RFC 1035, section 4.1).

use std::ops::Range;

/// The positions of the parts of a record in a message.
#[derive(Debug)]
pub struct RecordPlace {
    pub owner: Range<usize>,
    pub rtype: u16,
    pub ttl: [u8; 4],
    pub data: Range<usize>,
}

impl RecordPlace {
    /// Reads the record at this position, if it ends within the message.
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

/// Returns the end of the name at this position: after its root label or its pointer.
pub fn end_of_name(message: &[u8], mut position: usize) -> Option<usize> {
    loop {
        let length = *message.get(position)?;
        match length {
            0 => return Some(position + 1),
            1..=63 => position += 1 + usize::from(length),
            0xc0.. => return (position + 2 <= message.len()).then_some(position + 2),
            // These label types do not exist (RFC 6891, section 5).
            _ => return None,
        }
    }
}
