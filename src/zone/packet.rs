//! The wire format of names, records and texts (RFC 1035, section 4.1).
//!
//! Everything is written directly into the response: this is half of the service's own
//! work for a query, so nothing here allocates or is generic.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr;

use super::records::STRING_OCTETS;

/// A pointer to the name in the question, which follows the header.
pub const QUESTION_NAME: [u8; 2] = [0xc0, 12];

/// A pointer to the name in the question without its first label.
pub const fn pointer_after_label(label: &str) -> [u8; 2] {
    [0xc0, QUESTION_NAME[1] + 1 + label.len() as u8]
}

/// The lower octets of the types and the class.
const A: u8 = 1;
const AAAA: u8 = 28;
const IN: u8 = 1;

/// A name in wire format.
pub fn name(name: &rr::Name) -> Vec<u8> {
    let labels = name
        .iter()
        .flat_map(|label| [&[label.len() as u8], label].concat());
    labels.chain([0]).collect()
}

/// The start of a message: a header with a question count of 1, and the question.
pub fn question(owner: &rr::Name, rtype: u16) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name(owner));
    message.extend(rtype.to_be_bytes());
    message.extend([0, IN]);
    message
}

/// Writes a record at the name in the question; `None` if its data fails or is too long.
pub fn record(
    rtype: u16,
    ttl: u32,
    out: &mut Vec<u8>,
    data: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    let [t1, t0] = rtype.to_be_bytes();
    let [s3, s2, s1, s0] = ttl.to_be_bytes();
    let [q1, q0] = QUESTION_NAME;
    out.extend_from_slice(&[q1, q0, t1, t0, 0, IN, s3, s2, s1, s0, 0, 0]);
    let start = out.len();
    data(out)?;
    let octets = u16::try_from(out.len() - start).ok()?;
    out[start - 2..start].copy_from_slice(&octets.to_be_bytes());
    Some(())
}

/// Writes an address record without its name.
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

/// Writes a text as character-strings, each of the maximum length except for the last.
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.chunks(STRING_OCTETS) {
        out.push(part.len() as u8);
        out.extend(part);
    }
}

/// Writes a character-string (RFC 1035, section 3.3); `None` if it is too long.
pub fn string(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
    let start = out.len();
    out.push(0);
    text(out);
    out[start] = u8::try_from(out.len() - start - 1).ok()?;
    Some(())
}

/// Writes a number in decimal.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(number).as_bytes());
}

/// Writes an IPv4 address in dotted decimal.
pub fn ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    write_in_place::<16>(out, |text| {
        // Each number is written as four bytes; the next one overwrites the surplus.
        let mut end = 0;
        for octet in address.octets() {
            let (digits, length) = &DECIMALS[usize::from(octet)];
            text[end..end + 4].copy_from_slice(digits);
            end += usize::from(*length) + 1;
        }
        end - 1
    });
}

/// Appends at most `N` bytes: `write` returns how many it has written. It writes them in
/// their final place, since a copy of bytes that were just written one by one would stall
/// the processor until they are in its cache (store forwarding).
fn write_in_place<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8; N]) -> usize) {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    let length = out.last_chunk_mut().map_or(0, write);
    out.truncate(start + length);
}

/// Each octet in decimal followed by dots, and the number of its digits.
static DECIMALS: [([u8; 4], u8); 256] = {
    let mut decimals = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < decimals.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let (text, length) = &mut decimals[octet];
        let mut place = 2 - (octet >= 10) as usize - (octet >= 100) as usize;
        while place < digits.len() {
            text[*length as usize] = b'0' + digits[place] as u8;
            *length += 1;
            place += 1;
        }
        octet += 1;
    }
    decimals
};
