//! Turns the entries of a master file into records: directives, owners, TTLs and classes
//! (RFC 1035, section 5.1; RFC 2308, section 4).
//!
//! Where the RFCs leave a choice, this module does the same as BIND: a `$TTL` in an
//! included file stays in effect after it, the last owner and the origin do not. A TTL may
//! have units, as in `1h30m`.

use std::{path::Path, sync::Arc};

use hickory_proto::{
    rr::{DNSClass, Record},
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding},
};

use super::{
    files::Files,
    layout::Layout,
    name, rdata,
    token::{Entries, Entry, Token},
};
use crate::{
    settings::{Mistake, Problem},
    zone::{Zone, packet},
};

/// The number of mistakes after which the rest is ignored: it is probably not a master
/// file.
pub(super) const MAX_PROBLEMS: usize = 20;

/// The maximum TTL (RFC 2181, section 8).
const MAX_TTL: u64 = i32::MAX as u64;

/// A record with its position in the files.
#[derive(Debug)]
pub(super) struct LocatedRecord {
    pub record: Record,
    pub path: Arc<Path>,
    pub line: usize,
    /// The RDATA with names in lower case, which is the same for equal records.
    pub canonical: Vec<u8>,
}

pub(super) struct Reader {
    files: Files,
    /// The TTL of records that state none.
    ttl: u32,
    pub records: Vec<LocatedRecord>,
    pub problems: Vec<Problem>,
}

/// The state of one file.
struct Scope {
    path: Arc<Path>,
    /// In wire format.
    origin: Vec<u8>,
    owner: Owner,
}

/// The owner of the records of a line that begins with a space.
#[derive(Debug, Clone)]
enum Owner {
    /// There is no previous owner.
    None,
    Name(Vec<u8>),
    /// The previous owner is invalid, which has been reported already.
    Invalid,
}

impl Reader {
    /// Reads the text of the zone's master file.
    pub fn read(files: Files, path: &Path, text: &[u8], zone: &Zone) -> Self {
        let mut reader = Self {
            files,
            ttl: zone.ttl,
            records: Vec::new(),
            problems: Vec::new(),
        };
        let scope = Scope {
            path: path.into(),
            origin: packet::name(&zone.origin),
            owner: Owner::None,
        };
        reader.entries(text, scope);
        reader
    }

    fn entries(&mut self, text: &[u8], mut scope: Scope) {
        let without_mark = text.strip_prefix(b"\xef\xbb\xbf");
        if without_mark.is_some() {
            let message = "the file starts with a byte order mark: save it without one";
            let problem = Problem::new(&scope.path, Some(1), message);
            self.problems.push(problem);
        }
        for entry in Entries::new(without_mark.unwrap_or(text)) {
            let directive = entry.as_ref().ok().and_then(Entry::directive);
            let is_origin = directive.is_some_and(|name| name.eq_ignore_ascii_case(b"$ORIGIN"));
            if let Err(mistake) = entry.and_then(|entry| self.entry(&entry, &mut scope)) {
                self.problems.push(mistake.in_file(&scope.path));
                // All names below an invalid origin would be invalid, too.
                if is_origin {
                    return;
                }
            }
            if self.problems.len() >= MAX_PROBLEMS {
                return;
            }
        }
    }

    fn entry(&mut self, entry: &Entry<'_>, scope: &mut Scope) -> Result<(), Mistake> {
        let Some((first, rest)) = entry.tokens.split_first() else {
            return Ok(());
        };
        if entry.directive().is_some() {
            return self.directive(first, rest, scope);
        }
        let rest = if entry.is_indented {
            &entry.tokens
        } else {
            scope.owner = Owner::Invalid;
            scope.owner = Owner::Name(name::absolute(first, &scope.origin)?);
            rest
        };
        match scope.owner.clone() {
            Owner::Name(owner) => self.record(owner, first.line, rest, scope),
            Owner::Invalid => Ok(()),
            Owner::None => Err(first.mistake(
                "a line that begins with a space uses the name before it, and there is none",
            )),
        }
    }

    fn directive(
        &mut self,
        first: &Token<'_>,
        rest: &[Token<'_>],
        scope: &mut Scope,
    ) -> Result<(), Mistake> {
        let directive = first.excerpt().to_ascii_uppercase();
        let missing = |example: &str| {
            let message = format!("{directive} has no argument: write {directive} {example}");
            Err(first.mistake(message))
        };
        match (directive.as_str(), rest) {
            ("$ORIGIN", [origin]) => scope.origin = name::absolute(origin, &scope.origin)?,
            ("$TTL", [time]) => self.ttl = ttl(time)?,
            ("$INCLUDE", [file]) => self.include(file, scope.origin.clone(), scope)?,
            ("$INCLUDE", [file, origin]) => {
                self.include(file, name::absolute(origin, &scope.origin)?, scope)?;
            }
            ("$ORIGIN", []) => return missing("sub"),
            ("$TTL", []) => return missing("1h"),
            ("$INCLUDE", []) => return missing("FILE"),
            ("$ORIGIN" | "$TTL", [_, token, ..]) | ("$INCLUDE", [_, _, token, ..]) => {
                let excerpt = token.excerpt();
                return Err(token.mistake(format!(
                    "`{excerpt}` is one argument too many for {directive}: remove it"
                )));
            }
            ("$GENERATE", _) => {
                let message = "$GENERATE is not supported: write a line for each record";
                return Err(first.mistake(message));
            }
            _ => {
                let message = "is not a directive: expected $ORIGIN, $TTL or $INCLUDE";
                return Err(first.mistake(format!("`{directive}` {message}")));
            }
        }
        Ok(())
    }

    /// Includes a file, whose path is relative to the including file.
    fn include(
        &mut self,
        token: &Token<'_>,
        origin: Vec<u8>,
        scope: &Scope,
    ) -> Result<(), Mistake> {
        let unreadable =
            |message: String| token.mistake(format!("`{}` {message}", token.excerpt()));
        let file = str::from_utf8(token.text).map_err(|error| unreadable(error.to_string()))?;
        let directory = scope.path.parent().unwrap_or(Path::new(""));
        let path = directory.join(file);
        let text = self.files.open(&path).map_err(unreadable)?;
        let inner = Scope {
            path: path.into(),
            origin,
            owner: scope.owner.clone(),
        };
        self.entries(&text, inner);
        self.files.close();
        Ok(())
    }

    /// Parses the part of a line after the owner: class and TTL in either order, the type,
    /// and its RDATA.
    fn record(
        &mut self,
        owner: Vec<u8>,
        line: usize,
        tokens: &[Token<'_>],
        scope: &Scope,
    ) -> Result<(), Mistake> {
        let mut rest = tokens;
        let (mut own_ttl, mut has_class) = (None, false);
        let (layout, type_line) = loop {
            let Some((token, behind)) = rest.split_first() else {
                let message = "the line has no record type: write one, as in `name A 10.0.0.1`";
                return Err(Mistake::new(line, message));
            };
            rest = behind;
            let word = token.word().unwrap_or_default();
            if !has_class && is_class(token, word)? {
                has_class = true;
            } else if own_ttl.is_none() && word.starts_with(|c: char| c.is_ascii_digit()) {
                own_ttl = Some(ttl(token)?);
            } else if word.is_empty() {
                let message = format!("`{}` is not a record type, class or TTL", token.excerpt());
                return Err(token.mistake(message));
            } else {
                let layout = Layout::named(word).map_err(|message| token.mistake(message))?;
                break (layout, token.line);
            }
        };
        let rdata = rdata::read(layout, type_line, rest, &scope.origin)?;
        let ttl = own_ttl.unwrap_or(self.ttl);
        let record = decode(&owner, layout.code, ttl, &rdata).ok_or_else(|| {
            Mistake::new(line, "the record cannot be sent in a message: remove it")
        })?;
        self.records.push(LocatedRecord {
            record,
            path: scope.path.clone(),
            line,
            canonical: layout.canonical(&rdata),
        });
        Ok(())
    }
}

impl Entry<'_> {
    /// The name of the directive, if it is one.
    fn directive(&self) -> Option<&[u8]> {
        let first = self.tokens.first()?;
        let is_directive = !self.is_indented && !first.is_quoted && first.text.starts_with(b"$");
        is_directive.then_some(first.text)
    }
}

/// Whether the word is the class of the zone. Another class is a mistake (RFC
/// 1035, section 5.2).
fn is_class(token: &Token<'_>, word: &str) -> Result<bool, Mistake> {
    let word = word.to_ascii_uppercase();
    let others = ["CH", "CHAOS", "HS", "HESIOD", "CS", "NONE", "ANY"];
    if word == "IN" || word == "CLASS1" {
        return Ok(true);
    }
    if others.contains(&word.as_str()) || word.starts_with("CLASS") {
        return Err(token.mistake(format!("`{word}` is not the zone's class: write IN")));
    }
    Ok(false)
}

/// A number of seconds, or numbers with units as in `1h30m`.
fn ttl(token: &Token<'_>) -> Result<u32, Mistake> {
    let invalid = || {
        let excerpt = token.excerpt();
        token.mistake(format!(
            "`{excerpt}` is not a TTL: write seconds, at most {MAX_TTL}, or a time such as 1h30m"
        ))
    };
    let word = token.word().ok_or_else(invalid)?;
    let (mut sum, mut rest) = (0_u64, word);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let end = end.unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().map_err(|_| invalid())?;
        let mut units = rest[end..].chars();
        let unit = match units.next().map(|unit| unit.to_ascii_lowercase()) {
            Some('w') => 604_800,
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            None if rest.len() == word.len() => 1,
            _ => return Err(invalid()),
        };
        let seconds = number.checked_mul(unit).and_then(|it| it.checked_add(sum));
        sum = seconds.filter(|sum| *sum <= MAX_TTL).ok_or_else(invalid)?;
        rest = units.as_str();
        if rest.is_empty() {
            return u32::try_from(sum).map_err(|_| invalid());
        }
    }
}

/// Decodes a record in wire format. `None` if the library cannot decode it, or encodes it
/// differently.
fn decode(owner: &[u8], code: u16, ttl: u32, rdata: &[u8]) -> Option<Record> {
    // RFC 1035, section 4.1.3.
    let mut octets = owner.to_vec();
    octets.extend(code.to_be_bytes());
    octets.extend(u16::from(DNSClass::IN).to_be_bytes());
    octets.extend(ttl.to_be_bytes());
    octets.extend(u16::try_from(rdata.len()).ok()?.to_be_bytes());
    octets.extend(rdata);
    let record = Record::read(&mut BinDecoder::new(&octets)).ok()?;
    let mut written = Vec::with_capacity(octets.len());
    let mut encoder = BinEncoder::new(&mut written);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    (written == octets && !rdata.is_empty()).then_some(record)
}
