//! The syntax of master files (RFC 1035, section 5.1): octets in, entries out,
//! each a list of tokens with their lines.
//!
//! Parentheses, comments and quotes end here. What a token means, and what its
//! escapes stand for, is the caller's to say: [`octets`] reads the escapes.

use std::iter;

/// Servers differ in what they make of it.
const NUL: &str = "there is a NUL octet, which no text has: write \\000";

/// What is wrong at a line of the file at hand.
#[derive(Debug)]
pub(super) struct Mistake {
    pub line: usize,
    pub message: String,
}

/// A word, or a string in quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    /// As the file has it, with its escapes and without its quotes.
    pub text: &'t [u8],
    /// From 1.
    pub line: usize,
    pub is_quoted: bool,
    /// Whether nothing stands between it and the token before, as in
    /// `alpn="h2,h3"`.
    pub is_joined: bool,
}

impl<'t> Token<'t> {
    pub fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake {
            line: self.line,
            message: message.into(),
        }
    }

    /// The token as a message quotes it, which is one short line.
    pub fn shown(&self) -> String {
        const MOST: usize = 60;
        let text = String::from_utf8_lossy(self.text);
        let printed = text.chars().map(|character| match character.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => character,
        });
        let mut shown: String = printed.take(MOST).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        shown
    }

    /// A word of ASCII letters, as keywords, numbers and addresses are: neither
    /// in quotes nor with an escape.
    pub fn word(&self) -> Option<&'t str> {
        let text = std::str::from_utf8(self.text).ok()?;
        (!self.is_quoted && text.is_ascii() && !text.contains('\\')).then_some(text)
    }

    /// What the token stands for.
    pub fn value(&self) -> Result<Vec<u8>, Mistake> {
        octets(self.text)
            .map(|octet| octet.map(|octet| octet.value))
            .collect::<Result<_, _>>()
            .map_err(|message| self.mistake(message))
    }
}

/// An octet that a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Octet {
    pub value: u8,
    /// Whether it was written with a backslash, and so has no other meaning.
    pub is_escaped: bool,
}

/// The octets that the text of a token stands for: `\X` is X, `\DDD` the octet
/// of that decimal number.
pub(super) fn octets(text: &[u8]) -> impl Iterator<Item = Result<Octet, String>> {
    let mut rest = text;
    iter::from_fn(move || {
        let (value, is_escaped, length) = match *rest {
            [] => return None,
            [b'\\', a, b, c, ..] if [a, b, c].iter().all(u8::is_ascii_digit) => {
                let number = [a, b, c]
                    .iter()
                    .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
                match u8::try_from(number) {
                    Ok(value) => (value, true, 4),
                    Err(_) => {
                        rest = &[];
                        return Some(Err(format!("`\\{number}` is no octet: the last is \\255")));
                    }
                }
            }
            [b'\\', digit, ..] if digit.is_ascii_digit() => {
                rest = &[];
                let message = "a backslash before a digit takes three of them, as in \\032";
                return Some(Err(message.into()));
            }
            [b'\\', value, ..] => (value, true, 2),
            [value, ..] => (value, false, 1),
        };
        rest = &rest[length..];
        Some(Ok(Octet { value, is_escaped }))
    })
}

/// A line of the file, or several that a parenthesis makes one.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    /// Never empty.
    pub tokens: Vec<Token<'t>>,
    /// Whether it begins with a space, which stands for the last owner.
    pub is_indented: bool,
}

/// The entries of a file, as far as the first that is none.
#[derive(Debug)]
pub(super) struct Entries<'t> {
    text: &'t [u8],
    /// How far the text is read.
    at: usize,
    /// The line there, from 1.
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

    /// Reads as far as the end of the entry.
    fn entry(&mut self, tokens: &mut Vec<Token<'t>>) -> Result<(), Mistake> {
        // The lines of the parentheses that are open.
        let mut open: Vec<usize> = Vec::new();
        let mut is_joined = false;
        while let Some(octet) = self.peek() {
            match octet {
                b'"' => {
                    tokens.push(self.quoted(is_joined)?);
                    is_joined = true;
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' => is_joined = false,
                _ => {
                    tokens.push(self.word(is_joined)?);
                    is_joined = true;
                    continue;
                }
            }
            self.at += 1;
            match octet {
                b'\n' => self.line += 1,
                b'(' => open.push(self.line),
                b')' if open.pop().is_none() => {
                    return Err(self.mistake("there is no ( for this ): take it out"));
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
            Some(line) => Err(Mistake {
                line: *line,
                message: "the parenthesis that begins here has no end: write )".into(),
            }),
        }
    }

    fn word(&mut self, is_joined: bool) -> Result<Token<'t>, Mistake> {
        let start = self.at;
        while let Some(octet) = self.peek() {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"' => break,
                0 => return Err(self.mistake(NUL)),
                b'\\' => self.escape()?,
                _ => self.at += 1,
            }
        }
        Ok(Token {
            text: &self.text[start..self.at],
            line: self.line,
            is_quoted: false,
            is_joined,
        })
    }

    fn quoted(&mut self, is_joined: bool) -> Result<Token<'t>, Mistake> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                None | Some(b'\n') => {
                    return Err(self.mistake("the quotes have no end in this line: write \""));
                }
                Some(0) => return Err(self.mistake(NUL)),
                Some(b'\\') => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
        let text = &self.text[start..self.at];
        self.at += 1;
        Ok(Token {
            text,
            line: self.line,
            is_quoted: true,
            is_joined,
        })
    }

    /// A backslash and what it keeps from having another meaning.
    fn escape(&mut self) -> Result<(), Mistake> {
        match self.text.get(self.at + 1) {
            None | Some(b'\n' | b'\r') => {
                Err(self.mistake("the backslash has nothing after it: write \\\\ for itself"))
            }
            Some(0) => Err(self.mistake(NUL)),
            Some(_) => {
                self.at += 2;
                Ok(())
            }
        }
    }

    fn mistake(&self, message: &str) -> Mistake {
        Mistake {
            line: self.line,
            message: message.into(),
        }
    }
}

impl<'t> Iterator for Entries<'t> {
    type Item = Result<Entry<'t>, Mistake>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(octet) = self.peek() {
            let is_indented = matches!(octet, b' ' | b'\t');
            let mut tokens = Vec::new();
            if let Err(mistake) = self.entry(&mut tokens) {
                // Where the entry ends is not known, and all that follows might be
                // misread.
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
