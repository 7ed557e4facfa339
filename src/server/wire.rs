//! Reads queries without copying.
//!
//! [`Query::read`] is the fast path. It accepts only the usual form of a query: one
//! question without compression, and at most one OPT record with options that it
//! knows. It allocates nothing. On the slow path, [`Query::read_any`] takes the same
//! parts from any message that hickory's parser has accepted.

use std::net::IpAddr;

use hickory_proto::{
    rr::Name,
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use super::record_place::RecordPlace;

/// The length of a header (RFC 1035, section 4.1.1).
pub const HEADER: usize = 12;

/// The maximum length of a UDP response, which passes without fragmentation nearly
/// everywhere.
pub const MAX_UDP_OCTETS: u16 = 1_232;

/// The maximum number of packets received from a socket at once. Further ones wait in
/// the kernel.
pub const BATCH_SIZE: usize = 64;

/// The length of an OPT record without options.
pub const OPT_OCTETS: usize = 11;

/// The codes of the EDNS options that the server handles.
pub const NSID: u16 = 3;
pub const SUBNET: u16 = 8;
pub const COOKIE: u16 = 10;
pub const KEEPALIVE: u16 = 11;
pub const PADDING: u16 = 12;

/// The type OPT.
pub const OPT: u16 = 41;

/// The classes IN and CH.
pub const IN: u16 = 1;
pub const CH: u16 = 3;

/// The position of the number of additional records in a header (RFC 1035, section
/// 4.1.1).
pub const ADDITIONAL_COUNT: std::ops::Range<usize> = 10..HEADER;

/// Response, truncated, and recursion desired, in the first octet of the flags.
pub const QR: u8 = 0x80;
pub const TC: u8 = 0x02;
pub const RD: u8 = 0x01;
/// Checking disabled and authentic data, in the second octet.
pub const CD: u8 = 0x10;
pub const AD: u8 = 0x20;

/// A query.
///
/// It refers to its parts in the packet instead of copying them: a processor stalls
/// when a value that was just written in small parts is moved as a whole. For the
/// same reason the functions that build it and use it are inlined, since a function
/// moves its result.
#[derive(Debug, Clone, Copy)]
pub struct Query<'p> {
    pub packet: &'p [u8],
    /// The name in the question: its labels with their lengths, including the root
    /// label. It is empty if the message has no question.
    pub name: &'p [u8],
    type_and_class: &'p [u8; 4],
    pub edns: Option<Edns<'p>>,
}

/// The content of an OPT record (RFC 6891, section 6.1).
#[derive(Debug, Clone, Copy)]
pub struct Edns<'p> {
    /// The part before the options.
    fixed: &'p [u8; OPT_OCTETS],
    /// The data of a COOKIE option.
    pub cookie: Option<&'p [u8]>,
    /// The data of a CLIENT-SUBNET option.
    pub subnet: Option<&'p [u8]>,
    /// Whether the client requests the name of the server (RFC 5001).
    pub requests_nsid: bool,
    /// Whether the client requests the idle timeout of its connection (RFC 7828).
    pub requests_keepalive: bool,
    /// Whether the client requests padded replies (RFC 7830).
    pub requests_padding: bool,
}

impl<'p> Query<'p> {
    /// Reads the query in a packet. Returns `None` if it requires the slow path.
    #[inline(always)]
    pub fn read(packet: &'p [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        // The fast path requires one question, at most one additional record, no
        // other records, and only flags that a query can have.
        let [_, _, flags, more, 0, 1, 0, 0, 0, 0, 0, additional @ (0 | 1)] = *header else {
            return None;
        };
        if flags & !RD != 0 || more & !(CD | AD) != 0 {
            return None;
        }
        let (name, rest) = name(rest)?;
        let (type_and_class, rest) = rest.split_first_chunk::<4>()?;
        if type_and_class[2..] != IN.to_be_bytes() {
            return None;
        }
        let edns = match (additional, rest) {
            (0, []) => None,
            (1, record) => Some(Edns::read(record)?),
            _ => return None,
        };
        Some(Self {
            packet,
            name,
            type_and_class,
            edns,
        })
    }

    /// Reads any message that hickory's parser has accepted. Returns `None` if the
    /// name in the question is compressed, since no name precedes it that it could
    /// point to.
    pub fn read_any(packet: &'p [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        let count = |offset: usize| u16::from_be_bytes([header[offset], header[offset + 1]]);
        let (name, type_and_class, rest) = match count(4) {
            0 => (&packet[..0], &[0; 4], rest),
            _ => {
                let (name, rest) = name(rest)?;
                let (type_and_class, rest) = rest.split_first_chunk::<4>()?;
                (name, type_and_class, rest)
            }
        };
        let mut edns = None;
        let mut offset = packet.len() - rest.len();
        let records = [6, 8, 10].map(|offset| usize::from(count(offset)));
        for _ in 0..records.iter().sum() {
            let record = RecordPlace::read(packet, offset)?;
            offset = record.data.end;
            if record.rtype == OPT {
                // The fixed part includes the root label.
                let fixed = packet.get(record.owner.end - 1..)?.first_chunk()?;
                edns = Some(Edns::new::<false>(fixed, &packet[record.data])?);
            }
        }
        Some(Self {
            packet,
            name,
            type_and_class,
            edns,
        })
    }

    pub fn opcode(&self) -> u8 {
        self.packet[2] >> 3 & 0xf
    }

    /// Returns whether the client requests recursion.
    pub fn is_recursive(&self) -> bool {
        self.packet[2] & RD != 0
    }

    pub fn class(&self) -> u16 {
        u16::from_be_bytes([self.type_and_class[2], self.type_and_class[3]])
    }

    /// The type in the question.
    pub fn rtype(&self) -> u16 {
        u16::from_be_bytes([self.type_and_class[0], self.type_and_class[1]])
    }

    /// The data of the COOKIE option.
    pub fn cookie(&self) -> Option<&'p [u8]> {
        self.edns.as_ref()?.cookie
    }

    /// The data of the CLIENT-SUBNET option.
    pub fn subnet(&self) -> Option<&'p [u8]> {
        self.edns.as_ref()?.subnet
    }

    /// The name in the question; `None` if it is longer than a name can be.
    pub fn owner(&self) -> Option<Name> {
        Name::read(&mut BinDecoder::new(self.name)).ok()
    }

    /// The question: name, type and class.
    pub fn question(&self) -> &'p [u8] {
        &self.header_and_question()[HEADER..]
    }

    /// The header and the question.
    pub fn header_and_question(&self) -> &'p [u8] {
        match self.name.len() {
            0 => &self.packet[..HEADER],
            length => &self.packet[..HEADER + length + 4],
        }
    }
}

/// Splits off an uncompressed name. In a question a pointer is invalid, since no name
/// precedes it.
fn name(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    loop {
        match *octets.get(end)? {
            0 => break,
            length @ 1..=63 => end += 1 + usize::from(length),
            _ => return None,
        }
    }
    (end < 255).then(|| octets.split_at(end + 1))
}

impl<'p> Edns<'p> {
    /// Reads `record`, which must be an OPT record and nothing else.
    #[inline(always)]
    fn read(record: &'p [u8]) -> Option<Self> {
        const TYPE: [u8; 2] = OPT.to_be_bytes();
        let (fixed, options) = record.split_first_chunk::<OPT_OCTETS>()?;
        // The name is the root. Of the TTL field, the extended code is 0 in a query,
        // and the version must be 0.
        let [0, t1, t0, _, _, 0, 0, _, _, l1, l0] = *fixed else {
            return None;
        };
        if [t1, t0] != TYPE || usize::from(u16::from_be_bytes([l1, l0])) != options.len() {
            return None;
        }
        Self::new::<true>(fixed, options)
    }

    /// Reads the options. On the fast path, each must be a COOKIE or CLIENT-SUBNET
    /// option, and may occur once.
    #[inline(always)]
    fn new<const FAST: bool>(fixed: &'p [u8; OPT_OCTETS], mut options: &'p [u8]) -> Option<Self> {
        let (mut cookie, mut subnet) = (None, None);
        let [
            mut requests_nsid,
            mut requests_keepalive,
            mut requests_padding,
        ] = [false; 3];
        while !options.is_empty() {
            let (&[c1, c0, l1, l0], rest) = options.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([l1, l0]));
            let (data, rest) = rest.split_at_checked(length)?;
            match u16::from_be_bytes([c1, c0]) {
                SUBNET if subnet.is_none() => subnet = Some(data),
                COOKIE if cookie.is_none() => cookie = Some(data),
                // NSID and all other options take the slow path.
                _ if FAST => return None,
                NSID => requests_nsid = true,
                KEEPALIVE => requests_keepalive = true,
                PADDING => requests_padding = true,
                _ => {}
            }
            options = rest;
        }
        Some(Self {
            fixed,
            cookie,
            subnet,
            requests_nsid,
            requests_keepalive,
            requests_padding,
        })
    }

    /// The version of EDNS.
    pub fn version(&self) -> u8 {
        self.fixed[6]
    }

    /// The maximum UDP payload that the client can receive, in octets.
    pub fn payload(&self) -> u16 {
        u16::from_be_bytes([self.fixed[3], self.fixed[4]])
    }

    pub fn dnssec_ok(&self) -> bool {
        self.fixed[7] & 0x80 != 0
    }
}

/// The address and the source prefix length of a CLIENT-SUBNET option (RFC 7871,
/// section 6). `None` if the option is malformed.
pub fn parse_subnet(data: &[u8]) -> Option<(IpAddr, u8)> {
    let (&[f1, f0, prefix, scope], octets) = data.split_first_chunk::<4>()?;
    let bits: u8 = match u16::from_be_bytes([f1, f0]) {
        1 => 32,
        2 => 128,
        _ => return None,
    };
    // The address has as many octets as the prefix requires, and zeros after it.
    if prefix > bits || scope != 0 || octets.len() != usize::from(prefix).div_ceil(8) {
        return None;
    }
    let spare = octets.len() * 8 - usize::from(prefix);
    if octets
        .last()
        .is_some_and(|last| last & ((1u16 << spare) - 1) as u8 != 0)
    {
        return None;
    }
    let mut address = [0; 16];
    address[..octets.len()].copy_from_slice(octets);
    let address = match bits {
        32 => IpAddr::from(*address.first_chunk::<4>()?),
        _ => IpAddr::from(address),
    };
    Some((address, prefix))
}

/// Appends a message with its length before it (RFC 7766, section 8). No message is
/// too long for the length field, since replies do not exceed their limit.
pub fn push_framed(octets: &mut Vec<u8>, message: &[u8]) {
    let length = message.len().min(u16::MAX.into());
    octets.extend((length as u16).to_be_bytes());
    octets.extend(&message[..length]);
}
