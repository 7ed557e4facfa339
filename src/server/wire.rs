//! A query as it stands in its packet.
//!
//! [`Query::read`] takes only what nearly all queries are: one question, spelt out,
//! and perhaps one OPT record with options that it knows. It allocates nothing. Of
//! everything else [`Query::read_any`] takes the same parts, once hickory's parser
//! has understood the message.

use super::record_place::RecordPlace;

/// The octets of a message's header (RFC 1035, section 4.1.1).
pub const HEADER: usize = 12;

/// The largest answer by UDP: what passes without fragments nearly everywhere.
pub const UDP_OCTETS: u16 = 1_232;

/// How many packets are taken from a socket at once. More wait in the kernel.
pub const PACKETS: usize = 64;

/// How many octets an OPT record has without options.
pub const EDNS: usize = 11;

/// The option codes that are looked at.
pub const NSID: u16 = 3;
pub const SUBNET: u16 = 8;
pub const COOKIE: u16 = 10;
pub const KEEPALIVE: u16 = 11;
pub const PADDING: u16 = 12;

/// The type of the record that has them.
pub const OPT: u16 = 41;

/// The class IN.
const IN: u16 = 1;

/// Recursion desired, in the first octet of the flags.
pub const RD: u8 = 0x01;
/// Checking disabled, and data authenticated, in the second.
pub const CD: u8 = 0x10;
const AD: u8 = 0x20;

/// A query.
///
/// Where its parts stand in the packet, and no copies of them: what is made of
/// small parts and then moved as a whole has a processor wait until it is written.
/// For that reason, too, what makes it and what is made of it is inlined: a
/// function's result is moved.
#[derive(Debug, Clone, Copy)]
pub struct Query<'p> {
    pub packet: &'p [u8],
    /// The name asked for: labels with their lengths, and the root's; nothing where
    /// there is no question.
    pub name: &'p [u8],
    /// The type, and the class.
    kind: &'p [u8; 4],
    pub edns: Option<Edns<'p>>,
}

/// What an OPT record says (RFC 6891, section 6.1).
#[derive(Debug, Clone, Copy)]
pub struct Edns<'p> {
    /// What stands before the options.
    fixed: &'p [u8; EDNS],
    /// The data of a COOKIE option.
    pub cookie: Option<&'p [u8]>,
    /// The data of a CLIENT-SUBNET option.
    pub subnet: Option<&'p [u8]>,
    /// Whether the client asks for the name of the server (RFC 5001).
    pub asks_nsid: bool,
    /// Whether it asks how long its connection may be idle (RFC 7828).
    pub asks_keepalive: bool,
    /// Whether it asks that replies are padded (RFC 7830).
    pub asks_padding: bool,
}

impl<'p> Query<'p> {
    /// The query in a packet, if it is a plain one.
    #[inline(always)]
    pub fn read(packet: &'p [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        // One question, nothing else but perhaps one additional record, and no
        // flag that has no place in a query.
        let [_, _, flags, more, 0, 1, 0, 0, 0, 0, 0, additional @ (0 | 1)] = *header else {
            return None;
        };
        if flags & !RD != 0 || more & !(CD | AD) != 0 {
            return None;
        }
        let (name, rest) = name(rest)?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        if kind[2..] != IN.to_be_bytes() {
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
            kind,
            edns,
        })
    }

    /// The same of any message that hickory's parser has understood. `None` where the
    /// name of its question is compressed: there is nothing before it that it could
    /// point to.
    pub fn read_any(packet: &'p [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        let count = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
        let (name, kind, rest) = match count(4) {
            0 => (&packet[..0], &[0; 4], rest),
            _ => {
                let (name, rest) = name(rest)?;
                let (kind, rest) = rest.split_first_chunk::<4>()?;
                (name, kind, rest)
            }
        };
        let mut edns = None;
        let mut place = packet.len() - rest.len();
        let records = [6, 8, 10].map(|place| usize::from(count(place)));
        for _ in 0..records.iter().sum() {
            let record = RecordPlace::read(packet, place)?;
            place = record.data.end;
            if record.rtype == OPT {
                // With the end of its name.
                let fixed = packet.get(record.owner.end - 1..)?.first_chunk()?;
                edns = Some(Edns::new::<false>(fixed, &packet[record.data])?);
            }
        }
        Some(Self {
            packet,
            name,
            kind,
            edns,
        })
    }

    /// The opcode: what is wanted of the server.
    pub fn opcode(&self) -> u8 {
        self.packet[2] >> 3 & 0xf
    }

    /// Whether the server is to ask others.
    pub fn is_recursive(&self) -> bool {
        self.packet[2] & RD != 0
    }

    pub fn class(&self) -> u16 {
        u16::from_be_bytes([self.kind[2], self.kind[3]])
    }

    /// The type asked for.
    pub fn rtype(&self) -> u16 {
        u16::from_be_bytes([self.kind[0], self.kind[1]])
    }

    /// The data of its COOKIE option.
    pub fn cookie(&self) -> Option<&'p [u8]> {
        self.edns.as_ref()?.cookie
    }

    /// The data of its CLIENT-SUBNET option.
    pub fn subnet(&self) -> Option<&'p [u8]> {
        self.edns.as_ref()?.subnet
    }

    /// The question: name, type and class.
    pub fn question(&self) -> &'p [u8] {
        &self.with_header()[HEADER..]
    }

    /// The header and the question.
    pub fn with_header(&self) -> &'p [u8] {
        match self.name.len() {
            0 => &self.packet[..HEADER],
            length => &self.packet[..HEADER + length + 4],
        }
    }
}

/// The name in front, and what follows. No pointers: there is nothing before a
/// question that one could point to.
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
    /// The whole of an OPT record, and nothing behind it.
    #[inline(always)]
    fn read(record: &'p [u8]) -> Option<Self> {
        const TYPE: [u8; 2] = OPT.to_be_bytes();
        let (fixed, options) = record.split_first_chunk::<EDNS>()?;
        // The root's name; of the TTL the extended code, which is 0 in a query,
        // and the version, which is ours; the flags.
        let [0, t1, t0, _, _, 0, 0, _, _, l1, l0] = *fixed else {
            return None;
        };
        if [t1, t0] != TYPE || usize::from(u16::from_be_bytes([l1, l0])) != options.len() {
            return None;
        }
        Self::new::<true>(fixed, options)
    }

    /// Reads the options. Where they are to be plain, they are each of a kind that is
    /// looked at, and there is one of each.
    #[inline(always)]
    fn new<const PLAIN: bool>(fixed: &'p [u8; EDNS], mut options: &'p [u8]) -> Option<Self> {
        let (mut cookie, mut subnet) = (None, None);
        let [mut asks_nsid, mut asks_keepalive, mut asks_padding] = [false; 3];
        while !options.is_empty() {
            let (&[c1, c0, l1, l0], rest) = options.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([l1, l0]));
            let (data, rest) = rest.split_at_checked(length)?;
            match u16::from_be_bytes([c1, c0]) {
                SUBNET if subnet.is_none() => subnet = Some(data),
                COOKIE if cookie.is_none() => cookie = Some(data),
                // NSID and what else there is: hickory's parser knows.
                _ if PLAIN => return None,
                NSID => asks_nsid = true,
                KEEPALIVE => asks_keepalive = true,
                PADDING => asks_padding = true,
                _ => {}
            }
            options = rest;
        }
        Some(Self {
            fixed,
            cookie,
            subnet,
            asks_nsid,
            asks_keepalive,
            asks_padding,
        })
    }

    /// The version of EDNS.
    pub fn version(&self) -> u8 {
        self.fixed[6]
    }

    /// How many octets the client takes by UDP.
    pub fn payload(&self) -> u16 {
        u16::from_be_bytes([self.fixed[3], self.fixed[4]])
    }

    pub fn dnssec_ok(&self) -> bool {
        self.fixed[7] & 0x80 != 0
    }
}

/// A CLIENT-SUBNET option's address and source prefix (RFC 7871, section 6).
/// `None` where it is not as the RFC wants it.
pub fn subnet(data: &[u8]) -> Option<(std::net::IpAddr, u8)> {
    use std::net::IpAddr;
    let (&[f1, f0, prefix, scope], octets) = data.split_first_chunk::<4>()?;
    let bits: u8 = match u16::from_be_bytes([f1, f0]) {
        1 => 32,
        2 => 128,
        _ => return None,
    };
    // Just as many octets as the prefix needs, and no bit behind it.
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
    let address = match bits {
        32 => {
            let mut whole = [0; 4];
            whole[..octets.len()].copy_from_slice(octets);
            IpAddr::from(whole)
        }
        _ => {
            let mut whole = [0; 16];
            whole[..octets.len()].copy_from_slice(octets);
            IpAddr::from(whole)
        }
    };
    Some((address, prefix))
}

/// Adds a message and its length before it (RFC 7766, section 8). No message is
/// too long for that: replies are no longer than the room of a message.
pub fn framed(octets: &mut Vec<u8>, message: &[u8]) {
    let length = message.len().min(u16::MAX.into());
    octets.extend((length as u16).to_be_bytes());
    octets.extend(&message[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_as_long_as_its_prefix_wants() {
        for (data, expected) in [
            (&[0, 1, 32, 0, 10, 0, 0, 1][..], Some(("10.0.0.1", 32))),
            (&[0, 1, 24, 0, 10, 0, 1], Some(("10.0.1.0", 24))),
            (&[0, 1, 20, 0, 10, 0, 0x10], Some(("10.0.16.0", 20))),
            (&[0, 1, 0, 0], Some(("0.0.0.0", 0))),
            (&[0, 2, 16, 0, 0xfd, 0], Some(("fd00::", 16))),
            // Too many octets, too few, a bit behind the prefix, a scope, a
            // prefix or a family that there is not, and less than an option.
            (&[0, 1, 24, 0, 10, 0, 1, 0], None),
            (&[0, 1, 32, 0, 10, 0, 0], None),
            (&[0, 1, 20, 0, 10, 0, 0x18], None),
            (&[0, 1, 24, 24, 10, 0, 1], None),
            (&[0, 1, 33, 0, 10, 0, 0, 0, 0], None),
            (&[0, 3, 0, 0], None),
            (&[0, 1, 0], None),
        ] {
            let expected = expected.map(|(address, prefix)| (address.parse().unwrap(), prefix));
            assert_eq!(subnet(data), expected, "{data:?}");
        }
    }
}
