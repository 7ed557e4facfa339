//! Parses the RDATA of a master file into wire format.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use data_encoding::{BASE64, Encoding, HEXLOWER_PERMISSIVE};

use super::{
    layout::{Field, Layout},
    name, svcb,
    token::{Token, decimal},
};
use crate::{
    settings::Mistake,
    zone::{packet, records::STRING_OCTETS},
};

/// Parses RDATA into wire format. `line` is the line of the record type.
pub(super) fn read(
    layout: Layout,
    line: usize,
    tokens: &[Token<'_>],
    origin: &[u8],
) -> Result<Vec<u8>, Mistake> {
    let mut words = Words {
        layout,
        rest: tokens,
        line,
        origin,
    };
    let rdata = match words.generic()? {
        Some(rdata) => rdata,
        None => words.fields()?,
    };
    let mnemonic = layout.mnemonic;
    match layout.split(&rdata) {
        Ok(_) => Ok(rdata),
        Err(message) => Err(words.mistake(format!("the {mnemonic} record {message}"))),
    }
}

/// The remaining tokens of an entry.
struct Words<'e> {
    layout: Layout,
    rest: &'e [Token<'e>],
    /// The line of the previous token.
    line: usize,
    origin: &'e [u8],
}

impl<'e> Words<'e> {
    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.line, message)
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
        token.word().ok_or_else(|| {
            let excerpt = token.excerpt();
            token.mistake(format!(
                "`{excerpt}` is quoted or not a plain word: write {what}"
            ))
        })
    }

    fn number(&mut self, max: u16) -> Result<u16, Mistake> {
        let what = format!("a number from 0 to {max}");
        let word = self.word(&what)?;
        let number = decimal(word).filter(|number| *number <= max);
        number.ok_or_else(|| self.mistake(format!("`{word}` is not {what}")))
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

    fn fields(&mut self) -> Result<Vec<u8>, Mistake> {
        let Layout {
            mnemonic, fields, ..
        } = self.layout;
        let mut rdata = Vec::new();
        for field in fields {
            self.field(*field, &mut rdata)?;
        }
        let Some(token) = self.rest.first() else {
            return Ok(rdata);
        };
        let excerpt = token.excerpt();
        Err(token.mistake(format!(
            "`{excerpt}` is unexpected after one {mnemonic} record: write a line for each record, \
             or remove it"
        )))
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
            Field::Name => rdata.extend(name::absolute(self.next("a name")?, self.origin)?),
            Field::Text | Field::Texts => {
                self.text(rdata)?;
                while field == Field::Texts && !self.rest.is_empty() {
                    self.text(rdata)?;
                }
            }
            Field::Tag => {
                let word = self.word("a tag such as issue")?;
                let tag = packet::string(rdata, |out| out.extend(word.bytes()));
                tag.ok_or_else(|| self.mistake("the tag is longer than 255 octets"))?;
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
            Field::Hex => rdata.extend(self.decoded(&HEXLOWER_PERMISSIVE, "hexadecimal")?),
            Field::Base64 => rdata.extend(self.decoded(&BASE64, "base64")?),
            Field::Parameters => {
                rdata.extend(svcb::read(self.rest)?);
                self.rest = &[];
            }
            Field::Opaque => {
                let code = self.layout.code;
                return Err(self.mistake(format!(
                    "type {code} is unknown: write its RDATA as octets, as in \\# 2 0a0b (RFC 3597)"
                )));
            }
        }
        Ok(())
    }

    fn text(&mut self, rdata: &mut Vec<u8>) -> Result<(), Mistake> {
        let token = self.next("a string")?;
        let text = token.value()?;
        packet::string(rdata, |out| out.extend(&text)).ok_or_else(|| {
            let octets = text.len();
            token.mistake(format!(
                "a string has {octets} octets, more than {STRING_OCTETS}: split it into several, \
                 each in quotes"
            ))
        })
    }
}
