//! Adjusts compression pointers across a gap in a message (RFC 1035, section 4.1.4).
//!
//! When a record is removed from a message, those after it move forward, so that
//! pointers to names in them become wrong. The removed record is nearly always the last
//! one, and then there is nothing to do.

use std::ops::Range;

use crate::server::{
    record_place::{RecordPlace, end_of_name},
    wire::HEADER,
};

/// Adjusts the pointer of every name after the gap to the position that its target will
/// have once the gap is removed. Names before the gap can only point to earlier names,
/// and remain valid. Returns `None` if a name points into the gap or is malformed.
pub fn shift_names(message: &mut [u8], gap: &Range<usize>) -> Option<()> {
    let mut record_start = gap.end;
    while record_start < message.len() {
        let record = RecordPlace::read(message, record_start)?;
        shift_name(message, record_start, gap)?;
        let end = record.data.end;
        let mut position = record.data.start;
        for field in fields(record.rtype) {
            position = match field {
                Field::Octets(count) => position + count,
                Field::String => position + 1 + usize::from(*message.get(position)?),
                Field::Name => shift_name(message, position, gap)?,
            };
            if position > end {
                return None;
            }
        }
        record_start = end;
    }
    Some(())
}

/// Adjusts the name at `start`, and returns its end.
fn shift_name(message: &mut [u8], start: usize, gap: &Range<usize>) -> Option<usize> {
    let end = end_of_name(message, start)?;
    // A name ends with a root label of one octet, or with a pointer of two.
    let mut last = start;
    while matches!(message[last], 1..=63) {
        last += 1 + usize::from(message[last]);
    }
    if end == last + 2 {
        let octets = [message[last] & 0x3f, message[last + 1]];
        let pointer = usize::from(u16::from_be_bytes(octets));
        // A pointer must refer to an earlier name, and not into the gap.
        if gap.contains(&pointer) || !(HEADER..last).contains(&pointer) {
            return None;
        }
        if pointer >= gap.end {
            let pointer = pointer - gap.len();
            message[last] = 0xc0 | (pointer >> 8) as u8;
            message[last + 1] = pointer as u8;
        }
    }
    Some(end)
}

/// A field of a record's data.
enum Field {
    Octets(usize),
    /// A character string: a length octet, and as many octets.
    String,
    Name,
}

/// The fields of a record's data up to its last name, for all types whose names some
/// servers compress: the types of RFC 1035, whose names may be compressed; those whose
/// names receivers must decompress by RFC 3597, section 4; and later types, whose names
/// must not be compressed, but which some readers decompress.
fn fields(rtype: u16) -> &'static [Field] {
    use Field::{Name, Octets, String};
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NXT; DNAME, NSEC.
        2..=5 | 7..=9 | 12 | 30 | 39 | 47 => &[Name],
        // SOA, MINFO, RP.
        6 | 14 | 17 => &[Name, Name],
        // MX, AFSDB, RT; KX, SVCB, HTTPS.
        15 | 18 | 21 | 36 | 64 | 65 => &[Octets(2), Name],
        // SIG; RRSIG.
        24 | 46 => &[Octets(18), Name],
        // PX.
        26 => &[Octets(2), Name, Name],
        // SRV.
        33 => &[Octets(6), Name],
        // NAPTR.
        35 => &[Octets(4), String, String, String, Name],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of the root with this data.
    fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
        let [t1, t0] = rtype.to_be_bytes();
        let mut record = vec![0, t1, t0, 0, 1, 0, 0, 0, 9, 0, data.len() as u8];
        record.extend(data);
        record
    }

    fn pointer(to: usize) -> [u8; 2] {
        [0xc0 | (to >> 8) as u8, to as u8]
    }

    /// A gap after `first` octets, a record with the name `x`, and a record of the type
    /// with names after the octets `before`: the first points to `x` beyond the gap, and
    /// the others before the gap.
    fn message(first: usize, rtype: u16, before: &[u8], names: usize) -> (Vec<u8>, Range<usize>) {
        let mut message = vec![0; first];
        message.extend(record(41, &[7; 30]));
        let gap = first..message.len();
        let x = message.len() + 11;
        message.extend(record(2, b"\x01x\x00"));
        let mut data = before.to_vec();
        for name in 0..names {
            data.extend(b"\x01y");
            data.extend(if name == 0 { pointer(x) } else { pointer(12) });
        }
        message.extend(record(rtype, &data));
        (message, gap)
    }

    #[test]
    fn names_of_all_types_are_adjusted() {
        let naptr = b"\x00\x01\x00\x02\x01u\x00\x03abc";
        let mut cases = vec![(35, naptr.to_vec(), 1)];
        for (rtypes, before, names) in [
            (&[2, 3, 4, 5, 7, 8, 9, 12, 30, 39, 47][..], 0, 1),
            (&[6, 14, 17], 0, 2),
            (&[15, 18, 21, 36, 64, 65], 2, 1),
            (&[24, 46], 18, 1),
            (&[26], 2, 2),
            (&[33], 6, 1),
        ] {
            let case = |rtype: &u16| (*rtype, vec![0xc0; before], names);
            cases.extend(rtypes.iter().map(case));
        }
        // The second position has more bits than an octet.
        for first in [40, 0x1fe] {
            for (rtype, before, names) in &cases {
                let (mut octets, gap) = message(first, *rtype, before, *names);
                let mut expected = octets.clone();
                shift_names(&mut octets, &gap).unwrap();
                octets.drain(gap.clone());
                expected.drain(gap);
                // Only this pointer differs.
                let data = first + 11 + 3 + 11 + before.len();
                expected[data + 2..data + 4].copy_from_slice(&pointer(first + 11));
                assert_eq!(octets, expected, "type {rtype}");
            }
        }
    }

    #[test]
    fn invalid_pointers_and_records_are_malformed() {
        let (octets, gap) = message(40, 15, &[0, 1], 1);
        let pointer_at = octets.len() - 2;
        let into_gap = [gap.start, gap.start + 20, gap.end - 1];
        for target in into_gap.into_iter().chain([3, pointer_at, 0x3fff]) {
            let mut octets = octets.clone();
            octets[pointer_at..].copy_from_slice(&pointer(target));
            assert_eq!(shift_names(&mut octets, &gap), None, "to {target}");
        }
        for length in gap.end + 1..octets.len() {
            let whole = gap.end + 11 + 3;
            let cut = shift_names(&mut octets[..length].to_vec(), &gap);
            assert_eq!(cut.is_some(), length == whole, "{length} octets");
        }
        // A name that extends beyond its record.
        let (mut octets, gap) = message(40, 15, &[0, 1], 1);
        let length = octets.len() - 7;
        octets[length] = 3;
        octets.extend(record(2, b"\x01x\x00"));
        assert_eq!(shift_names(&mut octets, &gap), None);
        let (mut octets, gap) = message(40, 2, &[0x40], 0);
        assert_eq!(shift_names(&mut octets, &gap), None, "an unknown label");
    }
}
