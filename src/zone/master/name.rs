//! Parses the domain names of a master file into wire format (RFC 1035, section 3.1):
//! absolute, uncompressed, in their original case.

use hickory_proto::rr::Name;

use super::token::{Token, octets};

/// The maximum lengths of a name and a label (RFC 1035, section 2.3.4).
const NAME_OCTETS: usize = 255;
const LABEL_OCTETS: usize = 63;

/// Parses a name: `@` is the origin, and a name without a final dot is relative to it.
pub(super) fn absolute(token: &Token<'_>, origin: &[u8]) -> Result<Vec<u8>, String> {
    let text = token.text;
    if token.is_quoted {
        return Err(format!(
            "`{}` is a name: write it without quotes",
            token.excerpt()
        ));
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
        let octet = octet?;
        // A dot before this octet is not final.
        is_absolute = false;
        if !octet.is_escaped && !octet.value.is_ascii() {
            return Err(non_ascii(token));
        }
        if octet.value != b'.' || octet.is_escaped {
            label.push(octet.value);
            continue;
        }
        append(&mut name, &label, token)?;
        label.clear();
        is_absolute = true;
    }
    if is_absolute {
        name.push(0);
    } else {
        append(&mut name, &label, token)?;
        name.extend(origin);
    }
    if name.len() > NAME_OCTETS {
        let message = format!(
            "has {} octets: a name has at most {NAME_OCTETS}",
            name.len()
        );
        return Err(format!("`{}` {message}", token.excerpt()));
    }
    Ok(name)
}

fn append(name: &mut Vec<u8>, label: &[u8], token: &Token<'_>) -> Result<(), String> {
    let excerpt = token.excerpt();
    match u8::try_from(label.len()) {
        Ok(0) => Err(format!("`{excerpt}` has an empty label")),
        Ok(length) if usize::from(length) <= LABEL_OCTETS => {
            name.push(length);
            name.extend(label);
            Ok(())
        }
        _ => Err(format!(
            "`{excerpt}` has a label of more than {LABEL_OCTETS} octets: shorten it"
        )),
    }
}

/// The message about a name with other characters than ASCII, which servers interpret
/// differently. It suggests the encoded name (RFC 5891).
fn non_ascii(token: &Token<'_>) -> String {
    let excerpt = token.excerpt();
    let name = std::str::from_utf8(token.text).ok();
    match name.and_then(|name| Name::from_utf8(name).ok()) {
        Some(name) => format!("`{excerpt}` is not ASCII: write {}", name.to_ascii()),
        None => format!("`{excerpt}` is not ASCII: write such octets as escapes, as in \\195"),
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
