//! The service parameters of SVCB and HTTPS records (RFC 9460): parses them into wire
//! format, and checks the wire format.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use data_encoding::BASE64;

use super::token::{Token, decimal, decoded};
use crate::{settings::Mistake, zone::packet};

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
        let wrong = |message| token.mistake(format!("`{}` {message}", token.excerpt()));
        let (key, value) = parameter(name, value).map_err(wrong)?;
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
    let octets = decoded(value.unwrap_or_default())?;
    let text = String::from_utf8_lossy(&octets);
    let value = match key {
        MANDATORY => {
            let key =
                |item| self::key(item).ok_or_else(|| format!("names the unknown key `{item}`"));
            let mut keys = text.split(',').map(key).collect::<Result<Vec<_>, _>>()?;
            keys.sort_unstable();
            keys.into_iter().flat_map(u16::to_be_bytes).collect()
        }
        ALPN => protocols(&octets)?,
        PORT => {
            let port = decimal(&text).ok_or("is not a port: write a number from 0 to 65535")?;
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
    let is_short = number == "0" || !number.starts_with('0');
    decimal(number).filter(|_| is_short)
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
        if protocol.is_empty() {
            return Err("has an empty protocol");
        }
        let string = packet::string(&mut written, |out| out.extend(protocol));
        string.ok_or("has a protocol of more than 255 octets")?;
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
        let last = values.last_key_value();
        if last.is_some_and(|(last, _)| *last >= key) {
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
            let pairs = value.chunks_exact(2);
            let keys = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let keys: Vec<u16> = keys.collect();
            if !is_list(2) || !keys.is_sorted_by(|a, b| a < b) {
                return Err("has `mandatory` without keys, or with repeated or unsorted keys");
            }
            let is_wrong = |key: &u16| *key == MANDATORY || !all.contains_key(key);
            if keys.iter().any(is_wrong) {
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
    let mut parts = template.split('{');
    let first = parts.next().unwrap_or_default();
    let Some(parts) = parts
        .map(|part| part.split_once('}'))
        .collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    let mut literals = parts.iter().map(|(_, literal)| *literal).chain([first]);
    let variables = parts.iter().flat_map(|(expression, _)| {
        let operators = ['+', '#', '.', '/', ';', '?', '&'];
        let variables = expression.strip_prefix(operators).unwrap_or(expression);
        variables.split(',')
    });
    let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    let is_variable = |name: &str| !name.is_empty() && name.bytes().all(is_letter);
    !literals.any(|literal| literal.contains('}'))
        && variables.clone().all(is_variable)
        && variables.clone().any(|name| name == "dns")
}
