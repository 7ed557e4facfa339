//! Parses the RDATA of a master file into wire format.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use data_encoding::{BASE64, Encoding, HEXLOWER_PERMISSIVE};

use super::{
    layout::{Field, Layout, Type},
    name, svcb,
    token::{Mistake, Token},
};

/// The maximum length of a character-string (RFC 1035, section 3.3).
const TEXT_OCTETS: usize = 255;

/// Parses RDATA into wire format. `line` is the line of the record type.
pub(super) fn read(
    rtype: Type,
    line: usize,
    tokens: &[Token<'_>],
    origin: &[u8],
) -> Result<Vec<u8>, Mistake> {
    let mut words = Words {
        rest: tokens,
        line,
        origin,
    };
    let generic = words.generic()?;
    let (layout, rdata) = match (rtype, generic) {
        (Type::Opaque(_), Some(rdata)) => return Ok(rdata),
        (Type::Opaque(code), None) => {
            let message = format!(
                "type {code} is unknown: write its RDATA as octets, as in \\# 2 0a0b (RFC 3597)"
            );
            return Err(words.mistake(message));
        }
        (Type::Known(layout), Some(rdata)) => (layout, rdata),
        (Type::Known(layout), None) => (layout, words.fields(layout)?),
    };
    let mnemonic = layout.mnemonic;
    match layout.split(&rdata) {
        Ok(_) => Ok(rdata),
        Err(message) => Err(words.mistake(format!("the {mnemonic} record {message}"))),
    }
}

/// The remaining tokens of an entry.
struct Words<'e> {
    rest: &'e [Token<'e>],
    /// The line of the previous token.
    line: usize,
    origin: &'e [u8],
}

impl<'e> Words<'e> {
    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake {
            line: self.line,
            message: message.into(),
        }
    }

    fn next(&mut self, what: &str) -> Result<&'e Token<'e>, Mistake> {
        let Some((token, rest)) = self.rest.split_first() else {
            return Err(self.mistake(format!("the record ends before {what}: write it")));
        };
        self.line = token.line;
        self.rest = rest;
        Ok(token)
    }

    /// A word without quotes and escapes.
    fn word(&mut self, what: &str) -> Result<&'e str, Mistake> {
        let token = self.next(what)?;
        let excerpt = token.excerpt();
        token.word().ok_or_else(|| {
            token.mistake(format!(
                "`{excerpt}` is quoted or not a plain word: write {what}"
            ))
        })
    }

    fn number(&mut self, max: u16) -> Result<u16, Mistake> {
        let what = format!("a number from 0 to {max}");
        let word = self.word(&what)?;
        let is_number = word.bytes().all(|digit| digit.is_ascii_digit());
        let number = word.parse().ok().filter(|number| *number <= max);
        number
            .filter(|_| is_number)
            .ok_or_else(|| self.mistake(format!("`{word}` is not {what}")))
    }

    /// A word in the text format of its type.
    fn parsed<T: FromStr>(&mut self, what: &str, example: &str) -> Result<T, Mistake> {
        let word = self.word(what)?;
        let message = || format!("`{word}` is not {what}: write one such as {example}");
        word.parse().map_err(|_| self.mistake(message()))
    }

    /// All remaining words, joined and decoded.
    fn decoded(&mut self, encoding: &Encoding, name: &str) -> Result<Vec<u8>, Mistake> {
        let digits = self.digits(&format!("octets in {name}"))?;
        let octets = encoding.decode(digits.as_bytes());
        octets.map_err(|_| self.mistake(format!("the data is not {name}")))
    }

    /// All remaining words, joined.
    fn digits(&mut self, what: &str) -> Result<String, Mistake> {
        let mut digits = self.word(what)?.to_owned();
        while !self.rest.is_empty() {
            digits.push_str(self.word(what)?);
        }
        Ok(digits)
    }

    /// RDATA of any type in the generic format `\# 2 0a0b` (RFC 3597, section 5). A quoted
    /// `\#` is ordinary text.
    fn generic(&mut self) -> Result<Option<Vec<u8>>, Mistake> {
        let is_mark = |token: &Token<'_>| !token.is_quoted && token.text == b"\\#";
        if !self.rest.first().is_some_and(is_mark) {
            return Ok(None);
        }
        self.next("\\#")?;
        let length = self.number(u16::MAX)?;
        let digits = match self.rest {
            [] => String::new(),
            _ => self.digits("octets in hexadecimal")?,
        };
        let rdata = HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .map_err(|_| self.mistake("expected hexadecimal octets after \\# and a number"))?;
        if rdata.len() == usize::from(length) {
            return Ok(Some(rdata));
        }
        let message = format!("the RDATA has {} octets: write \\# {0} …", rdata.len());
        Err(self.mistake(message))
    }

    fn fields(&mut self, layout: &Layout) -> Result<Vec<u8>, Mistake> {
        let mut rdata = Vec::new();
        for field in layout.fields {
            self.field(*field, &mut rdata)?;
        }
        let mnemonic = layout.mnemonic;
        match self.rest.first() {
            None => Ok(rdata),
            Some(token) => Err(token.mistake(format!(
                "`{}` is unexpected after one {mnemonic} record: write a line for each record, or \
                 remove it",
                token.excerpt()
            ))),
        }
    }

    fn field(&mut self, field: Field, rdata: &mut Vec<u8>) -> Result<(), Mistake> {
        match field {
            Field::Byte => rdata.extend(self.number(u8::MAX.into())?.to_be_bytes().last()),
            Field::Short => rdata.extend(self.number(u16::MAX)?.to_be_bytes()),
            Field::Ipv4 => {
                let address: Ipv4Addr = self.parsed("an IPv4 address", "10.0.0.1")?;
                rdata.extend(address.octets());
            }
            Field::Ipv6 => {
                let address: Ipv6Addr = self.parsed("an IPv6 address", "fd00::1")?;
                rdata.extend(address.octets());
            }
            Field::Name => {
                let token = self.next("a name")?;
                let name = name::absolute(token, self.origin);
                rdata.extend(name.map_err(|message| token.mistake(message))?);
            }
            Field::Text => self.text(rdata)?,
            Field::Texts => {
                self.text(rdata)?;
                while !self.rest.is_empty() {
                    self.text(rdata)?;
                }
            }
            Field::Tag => {
                let word = self.word("a tag such as issue")?;
                let length = u8::try_from(word.len());
                rdata.push(length.map_err(|_| self.mistake("the tag is longer than 255 octets"))?);
                rdata.extend(word.bytes());
            }
            Field::Value => rdata.extend(self.next("a value")?.value()?),
            Field::Target => {
                let token = self.next("a URI in quotes")?;
                if !token.is_quoted {
                    let excerpt = token.excerpt();
                    return Err(token.mistake(format!("write the URI in quotes: \"{excerpt}\"")));
                }
                rdata.extend(token.value()?);
            }
            Field::Hex => {
                rdata.extend(self.decoded(&HEXLOWER_PERMISSIVE, "hexadecimal")?);
            }
            Field::Base64 => rdata.extend(self.decoded(&BASE64, "base64")?),
            Field::Parameters => {
                rdata.extend(svcb::read(self.rest)?);
                self.rest = &[];
            }
        }
        Ok(())
    }

    fn text(&mut self, rdata: &mut Vec<u8>) -> Result<(), Mistake> {
        let token = self.next("a string")?;
        let text = token.value()?;
        match u8::try_from(text.len()) {
            Ok(length) => {
                rdata.push(length);
                rdata.extend(text);
                Ok(())
            }
            Err(_) => Err(token.mistake(format!(
                "a string has {} octets, more than {TEXT_OCTETS}: split it into several, each in \
                 quotes",
                text.len()
            ))),
        }
    }
}
