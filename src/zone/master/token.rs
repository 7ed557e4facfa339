//! The lexical syntax of master files (RFC 1035, section 5.1): splits a text into entries,
//! each a list of tokens with their lines.
//!
//! This module handles parentheses, comments and quotes. The caller interprets the tokens
//! and their escapes, which [`octets`] decodes.

use std::iter;

use crate::settings::Mistake;

/// Servers interpret a NUL byte differently.
const NUL: &str = "the file contains a NUL byte: write \\000";

/// A word, or a string in quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    /// The text in the file, with escapes and without quotes.
    pub text: &'t [u8],
    /// Counted from 1.
    pub line: usize,
    pub is_quoted: bool,
    /// Whether it follows the previous token without a space, as in `alpn="h2,h3"`.
    pub is_joined: bool,
}

impl<'t> Token<'t> {
    pub fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.line, message)
    }

    /// The token for a message: one short line.
    pub fn excerpt(&self) -> String {
        const MAX_CHARS: usize = 60;
        let text = String::from_utf8_lossy(self.text).replace(char::is_control, "\u{fffd}");
        match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// The token as a word of ASCII characters without quotes and escapes: a keyword, a
    /// number or an address.
    pub fn word(&self) -> Option<&'t str> {
        let text = std::str::from_utf8(self.text).ok()?;
        (!self.is_quoted && text.is_ascii() && !text.contains('\\')).then_some(text)
    }

    /// The token with its escapes decoded.
    pub fn value(&self) -> Result<Vec<u8>, Mistake> {
        decoded(self.text).map_err(|message| self.mistake(message))
    }
}

/// The text of a token with its escapes decoded.
pub(super) fn decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    octets(text).map(|octet| Ok(octet?.value)).collect()
}

/// A number of digits only. `parse` alone would accept a plus sign, too.
pub(super) fn decimal(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A decoded octet of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Octet {
    pub value: u8,
    /// Whether it was written as an escape, and so has no special meaning.
    pub is_escaped: bool,
}

/// Decodes the text of a token: `\X` is X, and `\DDD` the octet with that decimal number.
/// Nothing useful follows an error.
pub(super) fn octets(text: &[u8]) -> impl Iterator<Item = Result<Octet, String>> {
    let mut rest = text;
    iter::from_fn(move || {
        let (value, is_escaped, length) = match *rest {
            [] => return None,
            [b'\\', a, b, c, ..] if [a, b, c].iter().all(u8::is_ascii_digit) => {
                let [a, b, c] = [a, b, c].map(|digit| u16::from(digit - b'0'));
                let number = 100 * a + 10 * b + c;
                let Ok(value) = u8::try_from(number) else {
                    let message = format!("`\\{number}` is not an octet: the highest is \\255");
                    return Some(Err(message));
                };
                (value, true, 4)
            }
            [b'\\', digit, ..] if digit.is_ascii_digit() => {
                let message = "a backslash before a digit needs three digits, as in \\032";
                return Some(Err(message.into()));
            }
            [b'\\', value, ..] => (value, true, 2),
            [value, ..] => (value, false, 1),
        };
        rest = &rest[length..];
        Some(Ok(Octet { value, is_escaped }))
    })
}

/// Whether the octet ends a word, and is no part of a token itself.
fn is_separator(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';')
}

/// A line of the file, or several lines that parentheses join.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    /// Never empty.
    pub tokens: Vec<Token<'t>>,
    /// Whether it begins with a space, which stands for the previous owner.
    pub is_indented: bool,
}

/// The entries of a file, up to the first syntax error.
#[derive(Debug)]
pub(super) struct Entries<'t> {
    text: &'t [u8],
    /// The current position in the text.
    at: usize,
    /// The current line, counted from 1.
    line: usize,
}

impl<'t> Entries<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Reads the tokens up to the end of the entry.
    fn entry(&mut self, tokens: &mut Vec<Token<'t>>) -> Result<(), Mistake> {
        // The lines of the open parentheses.
        let mut open: Vec<usize> = Vec::new();
        let mut is_joined = false;
        while let Some(octet) = self.peek() {
            if !is_separator(octet) {
                let is_quoted = octet == b'"';
                self.at += usize::from(is_quoted);
                tokens.push(self.token(is_quoted, is_joined)?);
                self.at += usize::from(is_quoted);
                is_joined = true;
                continue;
            }
            is_joined = false;
            self.at += 1;
            match octet {
                b'\n' => self.line += 1,
                b'(' => open.push(self.line),
                b')' if open.pop().is_none() => {
                    return Err(self.mistake("there is no ( for this ): remove it"));
                }
                b';' => {
                    while self.peek().is_some_and(|octet| octet != b'\n') {
                        self.at += 1;
                    }
                }
                _ => {}
            }
            let is_end = octet == b'\n' || octet == b'\r' && self.peek() != Some(b'\n');
            if is_end && open.is_empty() {
                return Ok(());
            }
        }
        match open.first() {
            None => Ok(()),
            Some(line) => Err(Mistake::new(
                *line,
                "the parenthesis is not closed: write )",
            )),
        }
    }

    /// Reads a word, or a string up to its closing quote.
    fn token(&mut self, is_quoted: bool, is_joined: bool) -> Result<Token<'t>, Mistake> {
        let start = self.at;
        loop {
            match self.peek() {
                None | Some(b'\n') if is_quoted => {
                    return Err(self.mistake("the string is not closed in this line: write \""));
                }
                None | Some(b'"') => break,
                Some(octet) if !is_quoted && is_separator(octet) => break,
                Some(0) => return Err(self.mistake(NUL)),
                Some(b'\\') => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
        Ok(Token {
            text: &self.text[start..self.at],
            line: self.line,
            is_quoted,
            is_joined,
        })
    }

    /// Skips a backslash and the character that it escapes.
    fn escape(&mut self) -> Result<(), Mistake> {
        match self.text.get(self.at + 1) {
            None | Some(b'\n' | b'\r') => {
                Err(self.mistake("nothing follows the backslash: write \\\\ for a backslash"))
            }
            Some(0) => Err(self.mistake(NUL)),
            Some(_) => {
                self.at += 2;
                Ok(())
            }
        }
    }

    fn mistake(&self, message: &str) -> Mistake {
        Mistake::new(self.line, message)
    }
}

impl<'t> Iterator for Entries<'t> {
    type Item = Result<Entry<'t>, Mistake>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(octet) = self.peek() {
            let is_indented = matches!(octet, b' ' | b'\t');
            let mut tokens = Vec::new();
            if let Err(mistake) = self.entry(&mut tokens) {
                // The end of the entry is unknown, so the rest could be misread.
                self.at = self.text.len();
                return Some(Err(mistake));
            }
            if !tokens.is_empty() {
                return Some(Ok(Entry {
                    tokens,
                    is_indented,
                }));
            }
        }
        None
    }
}
