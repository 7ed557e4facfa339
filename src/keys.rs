//! TSIG keys (RFC 8945), and the files in which `tsig-keygen` writes them.
//!
//! The service reads keys to verify its clients, the commands to sign their own
//! messages.

use std::{fmt, path::Path};

use data_encoding::BASE64;
use hickory_proto::rr::{Name, TSigner, rdata::tsig::TsigAlgorithm};

use crate::settings::{self, Mistake, Problem};

/// How far the clocks of a client and a server may differ, in seconds (RFC 8945,
/// section 10).
pub const FUDGE: u16 = 300;

/// The supported algorithms. Weaker ones must not be used any more (RFC 8945,
/// section 6).
const ALGORITHMS: [(&str, TsigAlgorithm); 3] = [
    ("hmac-sha256", TsigAlgorithm::HmacSha256),
    ("hmac-sha384", TsigAlgorithm::HmacSha384),
    ("hmac-sha512", TsigAlgorithm::HmacSha512),
];

/// The minimum length of a secret. A shorter one could be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// A shared secret with its name.
#[derive(Clone)]
pub struct Key {
    /// Absolute, in lower case.
    pub name: Name,
    pub signer: TSigner,
}

impl fmt::Debug for Key {
    /// Does not print the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// Parses the name of a key.
///
/// # Errors
///
/// The text is not a domain name; the error says what to write.
pub fn name(text: &str) -> Result<Name, String> {
    settings::domain_name(text).ok_or_else(|| {
        format!("`{text}` is not a valid key name: write a domain name, such as \"peers\"")
    })
}

/// The message about a key that is used but not defined.
pub fn unknown(name: &Name) -> String {
    let name = name.to_string();
    let name = name.trim_end_matches('.');
    format!(
        "unknown key `{name}`: add [keys.{name}] to the configuration, or its file to `files` in [keys]"
    )
}

impl Key {
    /// Creates a key.
    ///
    /// # Errors
    ///
    /// One of the arguments is invalid; the error says what to write instead.
    pub fn new(name_text: &str, algorithm: &str, secret: &str) -> Result<Self, String> {
        let name = name(name_text)?;
        let algorithm_name = algorithm.trim_end_matches('.').to_ascii_lowercase();
        let mut supported = ALGORITHMS.into_iter();
        let supported = supported.find(|(name, _)| *name == algorithm_name);
        let (_, algorithm) = supported.ok_or_else(|| {
            format!(
                "unknown algorithm `{algorithm}`: write hmac-sha256, hmac-sha384 or hmac-sha512"
            )
        })?;
        let invalid = "the secret is not valid base64: create a key with `tsig-keygen NAME`";
        let secret = BASE64.decode(secret.as_bytes()).map_err(|_| invalid)?;
        if secret.len() < MIN_SECRET_BYTES {
            return Err(format!(
                "the secret has {} bytes, and at least {MIN_SECRET_BYTES} are needed: create a key with `tsig-keygen NAME`",
                secret.len()
            ));
        }
        let signer = TSigner::new(secret, algorithm, name.clone(), FUDGE)
            .map_err(|error| error.to_string())?;
        Ok(Self { name, signer })
    }
}

/// Reads the keys of a file in the format that `tsig-keygen` writes and that `dig
/// -k`, `nsupdate -k` and `named` read.
///
/// # Errors
///
/// The first mistake in the file.
pub fn read(path: &Path) -> Result<Vec<Key>, Vec<Problem>> {
    let text = settings::text_of(path)?;
    parse(&text).map_err(|mistake| vec![mistake.in_file(path)])
}

/// A word or a punctuation mark, with its line.
struct Token<'t> {
    text: &'t str,
    line: usize,
}

/// Parses a key file.
fn parse(text: &str) -> Result<Vec<Key>, Mistake> {
    const SHAPE: &str = "write key \"NAME\" { algorithm hmac-sha256; secret \"…\"; };";
    let mut tokens = tokens(text)?.into_iter();
    let end = text.lines().count().max(1);
    let unexpected = |Token { text, line }: Token<'_>, expected: &str| {
        let message = format!("expected `{expected}`, found `{text}`: {SHAPE}");
        Mistake::new(line, message)
    };
    let mut next = |expected: Option<&str>| {
        let token = tokens
            .next()
            .ok_or_else(|| Mistake::new(end, format!("the file ends within a key: {SHAPE}")))?;
        match expected {
            Some(expected) if token.text != expected => Err(unexpected(token, expected)),
            _ => Ok(token),
        }
    };
    let mut keys: Vec<Key> = Vec::new();
    while let Ok(first) = next(None) {
        let line = first.line;
        if first.text != "key" {
            return Err(unexpected(first, "key"));
        }
        let name = next(None)?.text;
        next(Some("{"))?;
        let (mut algorithm, mut secret) = (None, None);
        loop {
            let word = next(None)?;
            let value = match word.text {
                "algorithm" => &mut algorithm,
                "secret" => &mut secret,
                "}" => break,
                other => {
                    let message = format!("unknown statement `{other}`: {SHAPE}");
                    return Err(Mistake::new(word.line, message));
                }
            };
            *value = Some(next(None)?.text);
            next(Some(";"))?;
        }
        next(Some(";"))?;
        let (Some(algorithm), Some(secret)) = (algorithm, secret) else {
            let message = format!("the key lacks its algorithm or its secret: {SHAPE}");
            return Err(Mistake::new(line, message));
        };
        let key = Key::new(name, algorithm, secret).map_err(|error| Mistake::new(line, error))?;
        if keys.iter().any(|other| other.name == key.name) {
            return Err(Mistake::new(line, format!("key `{name}` is defined twice")));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(Mistake::new(end, format!("there is no key: {SHAPE}")));
    }
    Ok(keys)
}

/// Splits the text into tokens. Comments are those of `named.conf`.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, Mistake> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first == '#' || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/");
            end.ok_or_else(|| Mistake::new(line, "the comment is not closed: write */"))? + 4
        } else if first.is_whitespace() {
            first.len_utf8()
        } else if first == '"' {
            let quoted = &rest[1..];
            let end = quoted.find(['"', '\n']).unwrap_or(quoted.len());
            if !quoted[end..].starts_with('"') {
                return Err(Mistake::new(line, "the string is not closed: write \""));
            }
            let text = &quoted[..end];
            tokens.push(Token { text, line });
            end + 2
        } else {
            let end = match first {
                '{' | '}' | ';' => 1,
                _ => rest
                    .find(|c: char| c.is_whitespace() || "{};\"#".contains(c))
                    .unwrap_or(rest.len()),
            };
            let text = &rest[..end];
            tokens.push(Token { text, line });
            end
        };
        let (token, remainder) = rest.split_at(length);
        line += token.matches('\n').count();
        rest = remainder;
    }
    Ok(tokens)
}
