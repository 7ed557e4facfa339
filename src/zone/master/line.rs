//! A record as a line of a master file, which every server parses as the same record.

use std::fmt;

use hickory_proto::{
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR},
    },
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

/// A record as one line of a master file. Names are absolute.
pub fn line(record: &Record) -> Line<'_> {
    Line(record)
}

pub struct Line<'r>(&'r Record);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record {
            name,
            ttl,
            dns_class,
            data,
            ..
        } = self.0;
        let rtype = mnemonic(data.record_type());
        write!(f, "{}\t{ttl}\t{dns_class}\t{rtype}\t", self::name(name))?;
        match data {
            RData::TXT(txt) => write_strings(f, txt.txt_data.iter()),
            RData::HINFO(hinfo) => write_strings(f, [&hinfo.cpu, &hinfo.os].into_iter()),
            RData::A(_) | RData::AAAA(_) => write!(f, "{data}"),
            RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => {
                write!(f, "{}", self::name(name))
            }
            RData::MX(mx) => write!(f, "{} {}", mx.preference, self::name(&mx.exchange)),
            RData::SRV(srv) => {
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                write!(f, "{priority} {weight} {port} {}", self::name(&srv.target))
            }
            RData::SOA(soa) => write!(
                f,
                "{} {} {} {} {} {} {}",
                self::name(&soa.mname),
                self::name(&soa.rname),
                soa.serial,
                soa.refresh,
                soa.retry,
                soa.expire,
                soa.minimum
            ),
            // The library does not display every type in the format of master files, so
            // the rest is written as octets (RFC 3597, section 5).
            data => write_octets(f, data),
        }
    }
}

/// A type in the format of master files (RFC 3597, section 5).
pub(super) fn mnemonic(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(code) => format!("TYPE{code}"),
        rtype => rtype.to_string(),
    }
}

/// An absolute name in the format of master files. The `Display` of the library writes
/// octal escapes, and decodes IDNA.
pub(super) fn name(name: &Name) -> AbsoluteName<'_> {
    AbsoluteName(name)
}

pub(super) struct AbsoluteName<'n>(&'n Name);

impl fmt::Display for AbsoluteName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_root() {
            return f.write_str(".");
        }
        for label in self.0.iter() {
            write_escaped(f, label, b".\"();@$\\ ")?;
            f.write_str(".")?;
        }
        Ok(())
    }
}

fn write_octets(f: &mut fmt::Formatter<'_>, data: &RData) -> fmt::Result {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|_| fmt::Error)?;
    write!(f, "\\# {} ", octets.len())?;
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// Character-strings, each in quotes (RFC 1035, section 5.1).
fn write_strings<'s>(
    f: &mut fmt::Formatter<'_>,
    strings: impl Iterator<Item = &'s Box<[u8]>>,
) -> fmt::Result {
    for (place, string) in strings.enumerate() {
        f.write_str(if place > 0 { " \"" } else { "\"" })?;
        write_escaped(f, string, b"\"\\")?;
        f.write_str("\"")?;
    }
    Ok(())
}

/// Writes octets as text, with escapes for the special ones and those that are not
/// printable.
fn write_escaped(f: &mut fmt::Formatter<'_>, octets: &[u8], special: &[u8]) -> fmt::Result {
    for octet in octets {
        match octet {
            b' ' if special.contains(octet) => f.write_str("\\032")?,
            b' '..=b'~' if special.contains(octet) => write!(f, "\\{}", char::from(*octet))?,
            b' '..=b'~' => write!(f, "{}", char::from(*octet))?,
            _ => write!(f, "\\{octet:03}")?,
        }
    }
    Ok(())
}
