//! The record types that a master file may contain, with the fields of their RDATA; and
//! the check of RDATA.
//!
//! All RDATA is checked here in wire format, whether it was written as text or as
//! octets (RFC 3597, section 5), because a secondary checks it too: one record that it
//! refuses breaks the transfer of the whole zone.

use super::{name, substitution, svcb, token::decimal};

/// A field of RDATA, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A number of one octet.
    Byte,
    /// A number of two octets.
    Short,
    Ipv4,
    Ipv6,
    Name,
    /// A character-string (RFC 1035, section 3.3).
    Text,
    /// One or more character-strings, to the end.
    Texts,
    /// A character-string of letters and digits, written without quotes.
    Tag,
    /// Octets to the end, written as one string, with or without quotes.
    Value,
    /// Octets to the end, written as one string in quotes.
    Target,
    /// Octets to the end, at least one, in hexadecimal.
    Hex,
    /// Octets to the end, at least one, in base64.
    Base64,
    /// Service parameters (RFC 9460, section 2.1).
    Parameters,
    /// The octets of an unassigned type, which have no text format.
    Opaque,
}

use Field::*;

/// A record type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub code: u16,
    /// Empty for an unassigned type.
    pub mnemonic: &'static str,
    pub fields: &'static [Field],
}

const fn layout(code: u16, mnemonic: &'static str, fields: &'static [Field]) -> Layout {
    Layout {
        code,
        mnemonic,
        fields,
    }
}

/// The supported types, in the order of their codes.
static LAYOUTS: [Layout; 23] = [
    layout(1, "A", &[Ipv4]),
    layout(2, "NS", &[Name]),
    layout(5, "CNAME", &[Name]),
    layout(12, "PTR", &[Name]),
    layout(13, "HINFO", &[Text, Text]),
    layout(15, "MX", &[Short, Name]),
    layout(16, "TXT", &[Texts]),
    layout(17, "RP", &[Name, Name]),
    layout(18, "AFSDB", &[Short, Name]),
    layout(21, "RT", &[Short, Name]),
    layout(28, "AAAA", &[Ipv6]),
    layout(33, "SRV", &[Short, Short, Short, Name]),
    layout(35, "NAPTR", &[Short, Short, Text, Text, Text, Name]),
    layout(36, "KX", &[Short, Name]),
    layout(SSHFP, "SSHFP", &[Byte, Byte, Hex]),
    layout(52, "TLSA", &[Byte, Byte, Byte, Hex]),
    layout(53, "SMIMEA", &[Byte, Byte, Byte, Hex]),
    layout(61, "OPENPGPKEY", &[Base64]),
    layout(64, "SVCB", &[Short, Name, Parameters]),
    layout(65, "HTTPS", &[Short, Name, Parameters]),
    layout(99, "SPF", &[Texts]),
    layout(256, "URI", &[Short, Short, Target]),
    layout(257, "CAA", &[Byte, Tag, Value]),
];

const NAPTR: u16 = 35;
const SSHFP: u16 = 44;

const UNSIGNED: &str = "the service does not sign its zones";
const NO_DELEGATION: &str = "the service does not delegate parts of its zones";

/// The types that are not allowed in a zone of this service, each with the reason.
static UNSUPPORTED: [(u16, &str, &str); 15] = [
    (6, "SOA", "the service generates it"),
    (24, "SIG", UNSIGNED),
    (25, "KEY", UNSIGNED),
    (30, "NXT", UNSIGNED),
    (39, "DNAME", "the service does not follow it"),
    (43, "DS", NO_DELEGATION),
    (46, "RRSIG", UNSIGNED),
    (47, "NSEC", UNSIGNED),
    (48, "DNSKEY", UNSIGNED),
    (50, "NSEC3", UNSIGNED),
    (51, "NSEC3PARAM", UNSIGNED),
    (59, "CDS", UNSIGNED),
    (60, "CDNSKEY", UNSIGNED),
    (62, "CSYNC", NO_DELEGATION),
    (63, "ZONEMD", UNSIGNED),
];

/// The code of a type such as `TYPE65280` (RFC 3597, section 5).
fn code(word: &str) -> Option<u16> {
    let (prefix, number) = word.split_at_checked(4)?;
    decimal(number).filter(|_| prefix.eq_ignore_ascii_case("TYPE"))
}

/// Whether the type is unassigned, both in IANA's registry of record types and in the
/// library, which uses 65305 for an alias.
fn is_unassigned(code: u16) -> bool {
    (265..=65_534).contains(&code) && !matches!(code, 32_768 | 32_769 | 65_305)
}

impl Layout {
    /// The type with the name. The error is a message.
    pub fn named(word: &str) -> Result<Self, String> {
        let code = code(word);
        let is_named = |number: u16, mnemonic: &str| {
            code == Some(number) || mnemonic.eq_ignore_ascii_case(word)
        };
        let mut known = LAYOUTS.into_iter();
        if let Some(layout) = known.find(|layout| is_named(layout.code, layout.mnemonic)) {
            return Ok(layout);
        }
        for (number, mnemonic, reason) in UNSUPPORTED {
            if is_named(number, mnemonic) {
                return Err(format!(
                    "{mnemonic} records are not allowed in this zone, because {reason}: remove it"
                ));
            }
        }
        match code {
            Some(code) if is_unassigned(code) => Ok(layout(code, "", &[Opaque])),
            _ => Err(format!(
                "`{word}` is not a supported record type: expected one of {}",
                LAYOUTS.map(|layout| layout.mnemonic).join(", ")
            )),
        }
    }

    /// Splits RDATA into its fields. The error is a part of a message.
    pub fn split<'w>(&self, rdata: &'w [u8]) -> Result<Vec<(Field, &'w [u8])>, &'static str> {
        let mut fields = Vec::with_capacity(self.fields.len());
        let mut rest = rdata;
        for field in self.fields {
            let length = field.length(rest)?;
            let Some((octets, behind)) = rest.split_at_checked(length) else {
                return Err("ends too early");
            };
            fields.push((*field, octets));
            rest = behind;
        }
        if !rest.is_empty() {
            return Err("has data after its last field");
        }
        match (self.code, fields.as_slice()) {
            (SSHFP, [_, (_, kind), (_, fingerprint)]) => match (kind, fingerprint.len()) {
                ([1], 20) | ([2], 32) => {}
                ([1 | 2], _) => return Err("has a fingerprint of the wrong length for its type"),
                _ => {}
            },
            (NAPTR, [_, _, (_, flags), _, (_, regexp), _]) => {
                if !flags[1..].iter().all(u8::is_ascii_alphanumeric) {
                    return Err("has flags that are not letters and digits (RFC 3403)");
                }
                if !substitution::is_valid(&regexp[1..]) {
                    let message = "has an invalid substitution expression (RFC 3402) in its fifth \
                                   field";
                    return Err(message);
                }
            }
            _ => {}
        }
        Ok(fields)
    }

    /// The RDATA with its names in lower case, which is the same for equal records
    /// (RFC 1034, section 3.6).
    pub fn canonical(&self, rdata: &[u8]) -> Vec<u8> {
        let fields = self.split(rdata).unwrap_or_default();
        let fields = fields.into_iter().map(|(field, octets)| match field {
            Name => octets.to_ascii_lowercase(),
            _ => octets.to_vec(),
        });
        fields.flatten().collect()
    }
}

impl Field {
    /// The length of the field at the start of the octets.
    fn length(self, octets: &[u8]) -> Result<usize, &'static str> {
        const SHORT: &str = "ends too early";
        let text = |octets: &[u8]| Some(1 + usize::from(*octets.first()?));
        match self {
            Byte => Ok(1),
            Short => Ok(2),
            Ipv4 => Ok(4),
            Ipv6 => Ok(16),
            Name => name::length(octets).ok_or("has a truncated, compressed or overlong name"),
            Text => text(octets).ok_or(SHORT),
            Texts => {
                let mut at = text(octets).ok_or(SHORT)?;
                while let Some(length) = octets.get(at..).and_then(text) {
                    at += length;
                }
                Ok(at)
            }
            Tag => match text(octets).and_then(|length| octets.get(1..length)) {
                Some(tag) if !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric) => {
                    Ok(1 + tag.len())
                }
                _ => Err("has a tag that is not letters and digits"),
            },
            Hex | Base64 if octets.is_empty() => Err(SHORT),
            Value | Target | Hex | Base64 | Opaque => Ok(octets.len()),
            Parameters => svcb::check(octets).map(|()| octets.len()),
        }
    }
}
