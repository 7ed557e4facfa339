//! Names, records and texts as they stand in a packet (RFC 1035, section 4.1).
//!
//! Written octet by octet into the reply: this is half of what the service itself
//! does for a query, so nothing here allocates or is generic about it.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr;

use super::records::STRING_OCTETS;

/// A pointer to the question's name, which stands behind the header.
pub const QUESTION: [u8; 2] = [0xc0, 12];

/// A pointer to the question's name without its first label, which is that one.
pub const fn pointer_behind_label(label: &str) -> [u8; 2] {
    [0xc0, QUESTION[1] + 1 + label.len() as u8]
}

/// Types and the class: the lower octets.
const A: u8 = 1;
const AAAA: u8 = 28;
const IN: u8 = 1;

/// A name as it stands in a packet.
pub fn name(name: &rr::Name) -> Vec<u8> {
    let labels = name
        .iter()
        .flat_map(|label| [&[label.len() as u8], label].concat());
    labels.chain([0]).collect()
}

/// The beginning of a message: an empty header, and a question.
pub fn question(owner: &rr::Name, rtype: u16) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name(owner));
    message.extend(rtype.to_be_bytes());
    message.extend([0, IN]);
    message
}

/// Writes a record at the question's name.
pub fn record(
    rtype: u16,
    ttl: u32,
    out: &mut Vec<u8>,
    data: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    let [t1, t0] = rtype.to_be_bytes();
    let [s3, s2, s1, s0] = ttl.to_be_bytes();
    let [q1, q0] = QUESTION;
    out.extend_from_slice(&[q1, q0, t1, t0, 0, IN, s3, s2, s1, s0, 0, 0]);
    let start = out.len();
    data(out)?;
    let octets = u16::try_from(out.len() - start).ok()?;
    out[start - 2..start].copy_from_slice(&octets.to_be_bytes());
    Some(())
}

/// Writes type, class, TTL and data of an address.
pub fn address_record(address: IpAddr, ttl: u32, out: &mut Vec<u8>) {
    let [s3, s2, s1, s0] = ttl.to_be_bytes();
    match address {
        IpAddr::V4(address) => {
            out.extend_from_slice(&[0, A, 0, IN, s3, s2, s1, s0, 0, 4]);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.extend_from_slice(&[0, AAAA, 0, IN, s3, s2, s1, s0, 0, 16]);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Writes a text as character-strings, of which each is as long as it may be.
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.chunks(STRING_OCTETS) {
        out.push(part.len() as u8);
        out.extend(part);
    }
}

/// Writes a character-string (RFC 1035, section 3.3).
pub fn string(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
    let start = out.len();
    out.push(0);
    text(out);
    out[start] = u8::try_from(out.len() - start - 1).ok()?;
    Some(())
}

/// Writes a number in decimal notation.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(number).as_bytes());
}

/// Writes an address in dotted notation.
pub fn dotted(address: Ipv4Addr, out: &mut Vec<u8>) {
    begin::<16>(out, |text| {
        // Each octet takes four, the last of which are written over by the next.
        let mut end = 0;
        for octet in address.octets() {
            let (digits, length) = &DECIMALS[usize::from(octet)];
            text[end..end + 4].copy_from_slice(digits);
            end += usize::from(*length) + 1;
        }
        end - 1
    });
}

/// Writes at most `N` octets: those that `write` says it has written. It writes
/// them where they stay: a processor cannot copy a whole whose parts it has only
/// just written before they are in its cache.
fn begin<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8; N]) -> usize) {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    let length = out.last_chunk_mut().map_or(0, write);
    out.truncate(start + length);
}

/// All octets in decimal notation with a dot behind, and how many digits each has.
static DECIMALS: [([u8; 4], u8); 256] = {
    let mut decimals = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < decimals.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let (text, length) = &mut decimals[octet];
        let mut place = if octet < 10 {
            2
        } else if octet < 100 {
            1
        } else {
            0
        };
        while place < digits.len() {
            text[*length as usize] = b'0' + digits[place] as u8;
            *length += 1;
            place += 1;
        }
        octet += 1;
    }
    decimals
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_standard_library_does() {
        let powers = (0..10).map(|power| 10u32.pow(power));
        let numbers = powers.flat_map(|power| [power - 1, power, power + 1, power * 4]);
        for number in numbers.chain([u32::MAX]) {
            let mut text = vec![b'='];
            decimal(number.into(), &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), format!("={number}"));
        }
    }

    #[test]
    fn an_address_is_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            for octets in [
                [octet, 0, 10, 255],
                [1, octet, 99, 100],
                [9, 200, octet, 7],
                [255, 255, 255, octet],
            ] {
                let (address, mut text) = (Ipv4Addr::from(octets), Vec::new());
                dotted(address, &mut text);
                assert_eq!(String::from_utf8(text).unwrap(), address.to_string());
            }
        }
    }
}
