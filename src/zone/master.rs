//! Master files (RFC 1035, section 5): the further records of a zone are read
//! from one, and a dump is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, iter,
    path::Path,
};

use hickory_proto::{
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR},
    },
    serialize::{
        binary::{BinEncodable, BinEncoder, NameEncoding},
        txt::Parser,
    },
};

use super::{Form, QueryName, Who, Zone};
use crate::settings::{self, Problem};

/// The records that a zone file's master file adds to the zone, by name.
#[derive(Debug, Default)]
pub struct Records {
    by_name: BTreeMap<LowerName, Vec<Record>>,
    /// Names that have no records but names below them.
    above: BTreeSet<LowerName>,
}

impl Records {
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The records at that name, if it is the master file's.
    pub fn at(&self, name: &Name) -> Option<&[Record]> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(&LowerName::new(name)).map(Vec::as_slice)
    }

    pub fn has_names_below(&self, name: &Name) -> bool {
        !self.above.is_empty() && self.above.contains(&LowerName::new(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_name.values().flatten()
    }
}

/// Reads the further records of a zone.
pub fn read(path: &Path, zone: &Zone) -> Result<Records, Vec<Problem>> {
    let text = settings::text_of(path)?;
    parse(path, &text, zone)
}

/// Reads the text of a master file. Files that it includes are opened.
pub fn parse(path: &Path, text: &str, zone: &Zone) -> Result<Records, Vec<Problem>> {
    let problem = |line, message: String| Problem {
        path: path.to_owned(),
        line,
        message,
    };
    if let Some((line, message)) = misread(text) {
        return Err(vec![problem(Some(line), message.into())]);
    }
    let parse = |text: &str| {
        // A TTL for records that state none, as the zone file has it.
        let text = format!("$TTL {}\n{text}", zone.ttl);
        let path = Some(path.to_owned());
        Parser::new(text, path, Some(zone.origin.clone())).parse()
    };
    let (_, sets) = parse(text).map_err(|error| {
        // The parser does not say where, so a line is looked for that makes it
        // stop with the same words, and without which it does not. By halves: a
        // long file would take minutes line by line.
        let message = error.to_string();
        let ends: Vec<usize> = text.match_indices('\n').map(|(end, _)| end + 1).collect();
        let before = ends.partition_point(|end| {
            parse(&text[..*end]).map_or_else(|error| error.to_string() != message, |_| true)
        });
        vec![problem(Some(before + 1), message)]
    })?;
    let mut records = Records::default();
    for set in sets.into_values() {
        for record in set.records_without_rrsigs() {
            let name = LowerName::new(&record.name);
            records
                .by_name
                .entry(name)
                .or_default()
                .push(record.clone());
        }
    }
    for name in records.by_name.keys() {
        let mut above = Name::from(name).base_name();
        while zone.contains(&above) && above != zone.origin {
            records.above.insert(LowerName::new(&above));
            above = above.base_name();
        }
    }
    let problems: Vec<Problem> = records
        .by_name
        .values()
        .filter_map(|records| refusal(records, zone))
        .map(|message| problem(None, message))
        .collect();
    match problems.is_empty() {
        true => Ok(records),
        false => Err(problems),
    }
}

/// The line of something that RFC 1035 allows but the parser takes for another
/// text, and what to write instead. Of `\034` in quotes it makes one character
/// with the code 0x30004, and in parentheses a quote is a letter to it.
fn misread(text: &str) -> Option<(usize, &'static str)> {
    let (mut line, mut in_word, mut in_quotes, mut in_list) = (1, false, false, false);
    let mut in_comment = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        match character {
            '\n' if in_comment => in_comment = false,
            _ if in_comment => {}
            '"' if in_quotes => in_quotes = false,
            '\\' if in_quotes => {
                let escaped = characters.next();
                line += usize::from(escaped == Some('\n'));
                if escaped.is_some_and(char::is_numeric) {
                    return Some((line, "a number is no escape in quotes: write the character"));
                }
            }
            _ if in_quotes => {}
            '"' if in_list => {
                return Some((line, "quotes are not read in parentheses: write one line"));
            }
            '"' if !in_word => in_quotes = true,
            ';' => (in_comment, in_word) = (true, false),
            '(' if !in_word => in_list = true,
            ')' => (in_list, in_word) = (false, false),
            _ => in_word = !character.is_whitespace(),
        }
    }
    None
}

/// Why the records of a name may not stand in the master file.
fn refusal(records: &[Record], zone: &Zone) -> Option<String> {
    let name = &records.first()?.name;
    let has = |rtype| records.iter().any(|record| record.record_type() == rtype);
    let is_origin = *name == zone.origin;
    let message = if !zone.contains(name) {
        format!("is not below the origin {zone}: take it out")
    } else if name.is_wildcard() {
        "is a wildcard, which would answer for hosts that are not registered: take it out".into()
    } else if has(RecordType::SOA) {
        "has an SOA record, which the service makes itself: take it out".into()
    } else if is_origin && (has(RecordType::TXT) || has(RecordType::CNAME)) {
        "has a record at the origin that would hide the service's own: take it out".into()
    } else if !is_origin && has(RecordType::NS) {
        "delegates a part of the zone, which the service does not do: take the NS record out".into()
    } else if has(RecordType::CNAME) && records.len() > 1 {
        "has a CNAME and other records, which RFC 1034, section 3.6.2, forbids".into()
    } else if !records.iter().all(is_plain) {
        "has, or names, a label of other characters than letters, digits, - and _: choose another"
            .into()
    } else if !is_origin && !is_free(name, zone) {
        "is a name that the service gives to peers: choose another".into()
    } else {
        return None;
    };
    Some(format!("{name} {message}"))
}

/// Whether no name of the record needs an escape. hickory reads and writes them
/// as octal numbers, where RFC 1035, section 5.1, has decimal ones.
fn is_plain(record: &Record) -> bool {
    let target = match &record.data {
        RData::CNAME(name) => Some(&name.0),
        RData::NS(name) => Some(&name.0),
        RData::PTR(name) => Some(&name.0),
        RData::MX(mx) => Some(&mx.exchange),
        RData::SRV(srv) => Some(&srv.target),
        _ => None,
    };
    let mut octets = iter::once(&record.name)
        .chain(target)
        .flat_map(Name::iter)
        .flatten();
    octets.all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

/// Whether the service itself has no use for the name.
fn is_free(name: &Name, zone: &Zone) -> bool {
    match zone.parse(name) {
        QueryName::Unknown => {
            let first = name.iter().next().unwrap_or_default().to_ascii_lowercase();
            let first = String::from_utf8_lossy(&first).into_owned();
            !zone.rules.is_id_shaped(first.as_bytes())
        }
        QueryName::Peer {
            who: Who::Host { role: None, .. },
            form: Form::Plain,
        } => true,
        _ => false,
    }
}

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
        // A name's own Display turns what IDNA encoded into letters of other
        // alphabets, and those are other octets to who reads the line.
        let name = name.to_ascii();
        write!(f, "{name}\t{ttl}\t{dns_class}\t{}\t", data.record_type())?;
        match data {
            RData::TXT(txt) => write_strings(f, txt.txt_data.iter()),
            RData::HINFO(hinfo) => write_strings(f, [&hinfo.cpu, &hinfo.os].into_iter()),
            RData::A(_) | RData::AAAA(_) => write!(f, "{data}"),
            RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => {
                f.write_str(&name.to_ascii())
            }
            RData::MX(mx) => write!(f, "{} {}", mx.preference, mx.exchange.to_ascii()),
            RData::SRV(srv) => {
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                write!(f, "{priority} {weight} {port} {}", srv.target.to_ascii())
            }
            RData::SOA(soa) => write!(
                f,
                "{} {} {} {} {} {} {}",
                soa.mname.to_ascii(),
                soa.rname.to_ascii(),
                soa.serial,
                soa.refresh,
                soa.retry,
                soa.expire,
                soa.minimum
            ),
            // Not every type shows itself as a master file has it, so the rest
            // is written as octets (RFC 3597, section 5).
            data => write_octets(f, data),
        }
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

fn write_strings<'s>(
    f: &mut fmt::Formatter<'_>,
    strings: impl Iterator<Item = &'s Box<[u8]>>,
) -> fmt::Result {
    for (place, string) in strings.enumerate() {
        if place > 0 {
            f.write_str(" ")?;
        }
        write_string(f, string)?;
    }
    Ok(())
}

/// A character-string in quotes (RFC 1035, section 5.1).
fn write_string(f: &mut fmt::Formatter<'_>, string: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for octet in string {
        match octet {
            b'"' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
            b' '..=b'~' => write!(f, "{}", char::from(*octet))?,
            _ => write!(f, "\\{octet:03}")?,
        }
    }
    f.write_str("\"")
}
