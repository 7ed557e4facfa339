//! Parses the domain names of a master file into wire format (RFC 1035, section 3.1):
//! absolute, uncompressed, in their original case.

use hickory_proto::rr::Name;

use super::token::{Octet, Token, octets};
use crate::settings::Mistake;

/// The maximum lengths of a name and a label (RFC 1035, section 2.3.4).
const NAME_OCTETS: usize = 255;
const LABEL_OCTETS: usize = 63;

/// Parses a name: `@` is the origin, and a name without a final dot is relative to it.
pub(super) fn absolute(token: &Token<'_>, origin: &[u8]) -> Result<Vec<u8>, Mistake> {
    let text = token.text;
    let wrong = |what: &str| token.mistake(format!("`{}` {what}", token.excerpt()));
    if token.is_quoted {
        return Err(wrong("is a name: write it without quotes"));
    }
    match text {
        b"@" => return Ok(origin.to_vec()),
        b"." => return Ok(vec![0]),
        _ => {}
    }
    let mut name = Vec::with_capacity(text.len() + 1 + origin.len());
    let mut label = Vec::with_capacity(LABEL_OCTETS);
    let mut is_absolute = false;
    for octet in octets(text) {
        let Octet { value, is_escaped } = octet.map_err(|message| token.mistake(message))?;
        // A dot is final unless another octet follows.
        is_absolute = value == b'.' && !is_escaped;
        if is_absolute {
            append(&mut name, &label).map_err(wrong)?;
            label.clear();
        } else if is_escaped || value.is_ascii() {
            label.push(value);
        } else {
            return Err(wrong(&not_ascii(text)));
        }
    }
    if is_absolute {
        name.push(0);
    } else {
        append(&mut name, &label).map_err(wrong)?;
        name.extend(origin);
    }
    if name.len() > NAME_OCTETS {
        let octets = name.len();
        return Err(wrong(&format!(
            "has {octets} octets: a name has at most {NAME_OCTETS}"
        )));
    }
    Ok(name)
}

/// Appends a label. The error is a part of a message.
fn append(name: &mut Vec<u8>, label: &[u8]) -> Result<(), &'static str> {
    match label.len() {
        0 => return Err("has an empty label"),
        1..=LABEL_OCTETS => {}
        _ => return Err("has a label of more than 63 octets: shorten it"),
    }
    name.push(label.len() as u8);
    name.extend(label);
    Ok(())
}

/// The part of a message about a name with other characters than ASCII, which servers interpret
/// differently. It suggests the encoded name (RFC 5891).
fn not_ascii(text: &[u8]) -> String {
    let name = std::str::from_utf8(text).ok();
    match name.and_then(|name| Name::from_utf8(name).ok()) {
        Some(name) => format!("is not ASCII: write {}", name.to_ascii()),
        None => "is not ASCII: write such octets as escapes, as in \\195".into(),
    }
}

/// The length of the uncompressed name at the start of the octets.
pub(super) fn length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*octets.get(at)?);
        at += 1 + label;
        if label > LABEL_OCTETS || at > NAME_OCTETS || at > octets.len() {
            return None;
        }
        if label == 0 {
            return Some(at);
        }
    }
}
