//! The service parameters of SVCB and HTTPS records (RFC 9460): parses them into wire
//! format, and checks the wire format.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use data_encoding::BASE64;

use super::token::{Mistake, Octet, Token, octets};

/// The names of the keys, indexed by number (section 14.3.2; RFC 9461 for the last).
const KEYS: [&str; 8] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
];

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;
const DOH_PATH: u16 = 7;

/// Parses parameters, and writes them in the order of their keys.
pub(super) fn read(tokens: &[Token<'_>]) -> Result<Vec<u8>, Mistake> {
    let mut parameters = BTreeMap::new();
    let mut tokens = tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        if token.is_quoted {
            return Err(token.mistake(format!(
                "the quoted `{}` has no key: write key=\"value\", without a space",
                token.excerpt()
            )));
        }
        let end = token.text.iter().position(|octet| *octet == b'=');
        let (name, mut value) = match end {
            Some(end) => (&token.text[..end], Some(&token.text[end + 1..])),
            None => (token.text, None),
        };
        if value == Some(b"") {
            let quoted = tokens.next_if(|next| next.is_quoted && next.is_joined);
            value = value.map(|value| quoted.map_or(value, |quoted| quoted.text));
        }
        let parameter = parameter(name, value).map_err(|message| {
            let excerpt = token.excerpt();
            token.mistake(format!("`{excerpt}` {message}"))
        });
        let (key, value) = parameter?;
        if parameters.insert(key, value).is_some() {
            return Err(token.mistake(format!("the key of `{}` is repeated", token.excerpt())));
        }
    }
    let mut written = Vec::new();
    for (key, value) in parameters {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        written.extend(key.to_be_bytes());
        written.extend(length.to_be_bytes());
        written.extend(value);
    }
    Ok(written)
}

/// Parses a parameter into the number of its key and its value in wire format.
fn parameter(name: &[u8], value: Option<&[u8]>) -> Result<(u16, Vec<u8>), String> {
    let name = std::str::from_utf8(name).unwrap_or_default();
    let unknown = "has an unknown key: expected mandatory, alpn, no-default-alpn, port, ipv4hint, \
                   ech, ipv6hint, dohpath, or key8 to key65535";
    let key = key(name).ok_or(unknown)?;
    if key < DOH_PATH && name.starts_with("key") {
        let name = KEYS[usize::from(key)];
        return Err(format!("has the number of a named key: write {name}"));
    }
    if key <= DOH_PATH && !matches!(key, NO_DEFAULT_ALPN | ECH) && value.is_none() {
        return Err("has no value: write it after =".into());
    }
    let octets: Vec<Octet> = octets(value.unwrap_or_default()).collect::<Result<_, _>>()?;
    let octets: Vec<u8> = octets.iter().map(|octet| octet.value).collect();
    let text = String::from_utf8_lossy(&octets);
    let items = || text.split(',');
    let value = match key {
        MANDATORY => {
            let mut keys = items()
                .map(|item| {
                    self::key(item).ok_or_else(|| format!("names the unknown key `{item}`"))
                })
                .collect::<Result<Vec<u16>, _>>()?;
            keys.sort_unstable();
            keys.into_iter().flat_map(u16::to_be_bytes).collect()
        }
        ALPN => protocols(&octets)?,
        PORT => {
            let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
            let port: Option<u16> = text.parse().ok().filter(|_| is_number);
            let port = port.ok_or("is not a port: write a number from 0 to 65535")?;
            port.to_be_bytes().to_vec()
        }
        IPV4_HINT => addresses(&text, Ipv4Addr::octets).ok_or("is not a list of IPv4 addresses")?,
        IPV6_HINT => addresses(&text, Ipv6Addr::octets).ok_or("is not a list of IPv6 addresses")?,
        ECH => BASE64.decode(&octets).map_err(|_| "is not base64")?,
        _ => octets,
    };
    Ok((key, value))
}

/// A list of addresses in wire format.
fn addresses<A: FromStr, const N: usize>(list: &str, octets: fn(&A) -> [u8; N]) -> Option<Vec<u8>> {
    let addresses: Result<Vec<A>, _> = list.split(',').map(str::parse).collect();
    Some(addresses.ok()?.iter().flat_map(octets).collect())
}

/// The number of a key, from its name or from `key99` (section 2.1).
fn key(name: &str) -> Option<u16> {
    if let Some(number) = KEYS.iter().position(|known| *known == name) {
        return u16::try_from(number).ok();
    }
    let number = name.strip_prefix("key")?;
    let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
    let is_short = number == "0" || !number.starts_with('0');
    (is_number && is_short).then(|| number.parse().ok())?
}

/// Parses a list of protocols, and writes each as a character-string. A backslash escapes
/// a comma within a protocol (appendix A.1).
fn protocols(list: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = list.iter();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b',' => {
                all.push(Vec::new());
                continue;
            }
            b'\\' => octets.next().ok_or("ends with a backslash")?,
            octet => octet,
        };
        all.last_mut().ok_or("is empty")?.push(*octet);
    }
    let mut written = Vec::new();
    for protocol in all {
        match u8::try_from(protocol.len()) {
            Ok(0) => return Err("has an empty protocol"),
            Ok(length) => {
                written.push(length);
                written.extend(protocol);
            }
            Err(_) => return Err("has a protocol of more than 255 octets"),
        }
    }
    Ok(written)
}

/// Checks parameters in wire format. The error is a part of a message.
pub(super) fn check(octets: &[u8]) -> Result<(), &'static str> {
    let mut values: BTreeMap<u16, &[u8]> = BTreeMap::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let [a, b, c, d, behind @ ..] = rest else {
            return Err("has a truncated parameter");
        };
        let (key, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let Some((value, behind)) = behind.split_at_checked(length.into()) else {
            return Err("has a truncated parameter");
        };
        if values
            .last_key_value()
            .is_some_and(|(last, _)| *last >= key)
        {
            return Err("has keys that are not in ascending order");
        }
        values.insert(key, value);
        rest = behind;
    }
    for (key, value) in &values {
        check_value(*key, value, &values)?;
    }
    Ok(())
}

fn check_value(key: u16, value: &[u8], all: &BTreeMap<u16, &[u8]>) -> Result<(), &'static str> {
    let is_list = |size| !value.is_empty() && value.len().is_multiple_of(size);
    match key {
        MANDATORY => {
            let keys: Vec<u16> = value
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            if !is_list(2) || !keys.is_sorted_by(|a, b| a < b) {
                return Err("has `mandatory` without keys, or with repeated or unsorted keys");
            }
            if keys
                .iter()
                .any(|key| *key == MANDATORY || !all.contains_key(key))
            {
                return Err("has `mandatory` with a key that is not present");
            }
        }
        ALPN => {
            let mut rest = value;
            while let [length, behind @ ..] = rest {
                let length = usize::from(*length);
                rest = behind.get(length..).ok_or("has a truncated `alpn`")?;
                if length == 0 {
                    return Err("has `alpn` with an empty protocol");
                }
            }
            if value.is_empty() {
                return Err("has `alpn` without a protocol");
            }
        }
        NO_DEFAULT_ALPN if !value.is_empty() => return Err("has `no-default-alpn` with a value"),
        NO_DEFAULT_ALPN if !all.contains_key(&ALPN) => {
            return Err("has `no-default-alpn` without `alpn`");
        }
        PORT if value.len() != 2 => return Err("has a `port` that is not two octets long"),
        IPV4_HINT if !is_list(4) => return Err("has `ipv4hint` with no or a partial address"),
        IPV6_HINT if !is_list(16) => return Err("has `ipv6hint` with no or a partial address"),
        DOH_PATH => {
            let path = std::str::from_utf8(value).unwrap_or_default();
            if !path.starts_with('/') || !names_dns(path) {
                return Err("has an invalid `dohpath`: write dohpath=/dns-query{?dns}");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether the text is a URI template with an expression that names the variable `dns`
/// (RFC 9461, section 5; RFC 6570, section 2).
fn names_dns(template: &str) -> bool {
    let mut names_dns = false;
    for (place, part) in template.split('{').enumerate() {
        let (expression, literal) = match part.split_once('}') {
            Some((expression, literal)) if place > 0 => (Some(expression), literal),
            None if place == 0 => (None, part),
            _ => return false,
        };
        if literal.contains('}') {
            return false;
        }
        let Some(expression) = expression else {
            continue;
        };
        let operators = ['+', '#', '.', '/', ';', '?', '&'];
        let variables = expression.strip_prefix(operators).unwrap_or(expression);
        for variable in variables.split(',') {
            let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
            if variable.is_empty() || !variable.bytes().all(is_letter) {
                return false;
            }
            names_dns |= variable == "dns";
        }
    }
    names_dns
}
