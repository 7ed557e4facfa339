//! TSIG keys (RFC 8945): what they are called, and reading the files that
//! `tsig-keygen` writes.
//!
//! The service reads them for those who sign what they send, the tools to sign
//! what they send themselves.

use std::{fmt, path::Path};

use data_encoding::BASE64;
use hickory_proto::rr::{Name, TSigner, rdata::tsig::TsigAlgorithm};

use crate::settings::{self, Problem};

/// How far apart the clocks of a client and this one may be, in seconds
/// (RFC 8945, section 10).
pub const FUDGE: u16 = 300;

/// The algorithms that a key may have; what is weaker is no longer to be used
/// (RFC 8945, section 6).
const ALGORITHMS: [(&str, TsigAlgorithm); 3] = [
    ("hmac-sha256", TsigAlgorithm::HmacSha256),
    ("hmac-sha384", TsigAlgorithm::HmacSha384),
    ("hmac-sha512", TsigAlgorithm::HmacSha512),
];

/// A key has at least so many octets: fewer could be guessed.
const LEAST_OCTETS: usize = 16;

/// A shared secret, by name.
#[derive(Clone)]
pub struct Key {
    /// Absolute, in lower case.
    pub name: Name,
    pub signer: TSigner,
}

impl fmt::Debug for Key {
    /// The secret stays one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// The name of a key.
///
/// # Errors
///
/// The text is no domain name; the error says what to write.
pub fn name(text: &str) -> Result<Name, String> {
    let name = Name::from_ascii(text).ok().filter(|name| !name.is_root());
    let mut name = name.ok_or_else(|| format!("`{text}` is no name for a key: write \"peers\""))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// What to say of a key that is named but not there.
pub fn unknown(name: &Name) -> String {
    let name = name.to_string();
    let name = name.trim_end_matches('.');
    format!(
        "there is no key `{name}`: add [keys.{name}] to the configuration, or its file to `files` in [keys]"
    )
}

impl Key {
    /// Makes a key of the texts that describe it.
    ///
    /// # Errors
    ///
    /// Any of them is wrong; the error says what to write instead.
    pub fn new(name_text: &str, algorithm: &str, secret: &str) -> Result<Self, String> {
        let name = name(name_text)?;
        let wanted = algorithm.trim_end_matches('.').to_ascii_lowercase();
        let known = ALGORITHMS.into_iter().find(|(known, _)| *known == wanted);
        let (_, algorithm) = known.ok_or_else(|| {
            format!(
                "`{algorithm}` is no algorithm for a key: hmac-sha256, hmac-sha384 and hmac-sha512 are"
            )
        })?;
        let octets = BASE64.decode(secret.as_bytes()).map_err(|_| {
            "the secret is not in base64: make a key with `tsig-keygen NAME`".to_owned()
        })?;
        if octets.len() < LEAST_OCTETS {
            return Err(format!(
                "the secret has {} octets, and {LEAST_OCTETS} at least are needed: make a key with `tsig-keygen NAME`",
                octets.len()
            ));
        }
        let signer = TSigner::new(octets, algorithm, name.clone(), FUDGE)
            .map_err(|error| error.to_string())?;
        Ok(Self { name, signer })
    }
}

/// Reads the keys of a file as `tsig-keygen` writes it, and as `dig -k`,
/// `nsupdate -k` and `named` read it.
///
/// # Errors
///
/// All that is wrong with the file, by line.
pub fn read(path: &Path) -> Result<Vec<Key>, Vec<Problem>> {
    let text = settings::text_of(path)?;
    parse(&text).map_err(|(line, message)| {
        vec![Problem {
            path: path.to_owned(),
            line: Some(line),
            message,
        }]
    })
}

/// A word or a sign of a key file, and its line.
struct Token {
    text: String,
    line: usize,
}

/// The keys, or the line of the first mistake and what it is.
fn parse(text: &str) -> Result<Vec<Key>, (usize, String)> {
    const SHAPE: &str = "write key \"NAME\" { algorithm hmac-sha256; secret \"…\"; };";
    let mut tokens = tokens(text)?.into_iter();
    let end = text.lines().count().max(1);
    let mut next = |wanted: Option<&str>| {
        let token = tokens
            .next()
            .ok_or((end, format!("the file ends within a key: {SHAPE}")))?;
        match wanted {
            Some(wanted) if token.text != wanted => Err((
                token.line,
                format!("`{}` stands where `{wanted}` should: {SHAPE}", token.text),
            )),
            _ => Ok(token),
        }
    };
    let mut keys: Vec<Key> = Vec::new();
    while let Ok(first) = next(None) {
        let line = first.line;
        if first.text != "key" {
            return Err((line, format!("`{}` is no key: {SHAPE}", first.text)));
        }
        let name = next(None)?.text;
        next(Some("{"))?;
        let (mut algorithm, mut secret) = (None, None);
        loop {
            let word = next(None)?;
            let value = match word.text.as_str() {
                "algorithm" => &mut algorithm,
                "secret" => &mut secret,
                "}" => break,
                other => return Err((word.line, format!("`{other}` is unknown here: {SHAPE}"))),
            };
            *value = Some(next(None)?.text);
            next(Some(";"))?;
        }
        next(Some(";"))?;
        let (Some(algorithm), Some(secret)) = (algorithm, secret) else {
            return Err((line, format!("the key lacks something: {SHAPE}")));
        };
        let key = Key::new(&name, &algorithm, &secret).map_err(|error| (line, error))?;
        if keys.iter().any(|other| other.name == key.name) {
            return Err((line, format!("there is a key `{name}` already")));
        }
        keys.push(key);
    }
    match keys.is_empty() {
        true => Err((end, format!("has no key: {SHAPE}"))),
        false => Ok(keys),
    }
}

/// Takes the text apart. Comments are those of `named.conf`.
fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first == '#' || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/");
            end.ok_or((line, "the comment has no end: write */".to_owned()))? + 4
        } else if first.is_whitespace() {
            first.len_utf8()
        } else if first == '"' {
            let quoted = &rest[1..];
            let end = quoted.find(['"', '\n']).unwrap_or(quoted.len());
            if !quoted[end..].starts_with('"') {
                return Err((line, "the text has no end: write \"".to_owned()));
            }
            let text = quoted[..end].to_owned();
            tokens.push(Token { text, line });
            end + 2
        } else {
            let end = match first {
                '{' | '}' | ';' => 1,
                _ => rest
                    .find(|c: char| c.is_whitespace() || "{};\"#".contains(c))
                    .unwrap_or(rest.len()),
            };
            let text = rest[..end].to_owned();
            tokens.push(Token { text, line });
            end
        };
        let (passed, left) = rest.split_at(length);
        line += passed.matches('\n').count();
        rest = left;
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_file_of_tsig_keygen_is_read() {
        let text = format!(
            "# two keys\nkey \"Peers\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n\
             // and\n/* an\nother */ key admin.example. {{ secret {SECRET}; algorithm HMAC-SHA512; }};"
        );
        let keys = parse(&text).unwrap();
        let names: Vec<String> = keys.iter().map(|key| key.name.to_string()).collect();
        assert_eq!(names, ["peers.", "admin.example."]);
        let algorithms: Vec<_> = keys.iter().map(|key| key.signer.algorithm()).collect();
        assert_eq!(
            algorithms,
            [&TsigAlgorithm::HmacSha256, &TsigAlgorithm::HmacSha512]
        );
        assert_eq!(keys[0].signer.key(), (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn mistakes_are_told_by_line() {
        for (text, line, what) in [
            ("", 1, "has no key"),
            (
                "key \"a\" {\n algorithm hmac-md5;\n secret \"SECRET\"; };",
                1,
                "no algorithm",
            ),
            (
                "\nkey \"a\" { algorithm hmac-sha256; secret \"???\"; };",
                2,
                "base64",
            ),
            (
                "\n\nkey \"a\" { algorithm hmac-sha256; secret \"AAAA\"; };",
                3,
                "octets",
            ),
            ("key \"a\" {\n algorithm hmac-sha256;\n};", 1, "lacks"),
            ("key \"a\" {\n algorithm hmac-sha256\n secret", 3, "should"),
            ("key \"a\" {\n", 1, "ends within"),
            ("options {\n};", 1, "no key"),
            ("key \"a", 1, "no end"),
            ("\n/* key", 2, "no end"),
            ("key \"a\" { name x; };", 1, "unknown"),
        ] {
            let text = text.replace("SECRET", SECRET);
            let (found, message) = parse(&text).unwrap_err();
            assert!(
                found == line && message.contains(what),
                "{text}: {found}: {message}"
            );
        }
        let key = format!("key a {{ algorithm hmac-sha256; secret {SECRET}; }};\n");
        let (line, message) = parse(&key.repeat(2)).unwrap_err();
        assert!(line == 2 && message.contains("already"), "{message}");
    }
}
