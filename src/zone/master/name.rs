//! Domain names as a master file writes them, in wire form (RFC 1035, section
//! 3.1): absolute, uncompressed, in the case in which they were written.

use hickory_proto::rr::Name;

use super::token::{Token, octets};

/// The longest name, and the longest label (RFC 1035, section 2.3.4).
const NAME_OCTETS: usize = 255;
const LABEL_OCTETS: usize = 63;

/// The name that a token stands for: `@` is the origin, and a name without a dot
/// at its end is below it.
pub(super) fn absolute(token: &Token<'_>, origin: &[u8]) -> Result<Vec<u8>, String> {
    let text = token.text;
    if token.is_quoted {
        return Err(format!(
            "`{}` is a name: write it without quotes",
            token.shown()
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
        // The dot before it, if there was one, was not the last.
        is_absolute = false;
        if !octet.is_escaped && !octet.value.is_ascii() {
            return Err(encoded(token));
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
        return Err(format!("`{}` {message}", token.shown()));
    }
    Ok(name)
}

fn append(name: &mut Vec<u8>, label: &[u8], token: &Token<'_>) -> Result<(), String> {
    let shown = token.shown();
    match u8::try_from(label.len()) {
        Ok(0) => Err(format!("`{shown}` has nothing before or between its dots")),
        Ok(length) if usize::from(length) <= LABEL_OCTETS => {
            name.push(length);
            name.extend(label);
            Ok(())
        }
        _ => Err(format!(
            "`{shown}` has a label of more than {LABEL_OCTETS} octets: shorten it"
        )),
    }
}

/// What to write for a name of another alphabet (RFC 5891): servers differ in
/// what they make of its octets.
fn encoded(token: &Token<'_>) -> String {
    let shown = token.shown();
    let name = std::str::from_utf8(token.text).ok();
    match name.and_then(|name| Name::from_utf8(name).ok()) {
        Some(name) => format!("`{shown}` is not in ASCII: write {}", name.to_ascii()),
        None => format!("`{shown}` is not in ASCII: write each such octet as in \\195"),
    }
}

/// The length of the uncompressed name that the octets begin with.
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
