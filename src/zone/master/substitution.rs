//! Validates the substitution expression of a NAPTR record (RFC 3402, section 3.2). BIND
//! as a secondary aborts the transfer if it is invalid.

/// The character classes of POSIX, as in `[[:digit:]]`.
const CLASSES: [&str; 12] = [
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "xdigit",
];

/// Whether the text is empty, or `!pattern!replacement!` with any delimiter and an
/// optional `i` after it.
pub(super) fn is_valid(text: &[u8]) -> bool {
    let Some((delimiter, rest)) = text.split_first() else {
        return true;
    };
    if delimiter.is_ascii_digit() || matches!(delimiter, b'i' | b'\\' | 0) {
        return false;
    }
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = rest.iter();
    while let Some(octet) = octets.next() {
        if octet == delimiter {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(*octet);
            if *octet == b'\\' {
                part.extend(octets.next());
            }
        }
    }
    let [pattern, replacement, flags] = parts.as_slice() else {
        return false;
    };
    let Some(groups) = groups(pattern) else {
        return false;
    };
    let is_reference = |pair: &&[u8]| pair[0] == b'\\' && pair[1].is_ascii_digit();
    let mut references = replacement.windows(2).filter(is_reference);
    flags.iter().all(|flag| *flag == b'i')
        && references.all(|pair| (1..=groups).contains(&usize::from(pair[1] - b'0')))
}

/// The number of groups in an extended regular expression; `None` if it is empty or
/// invalid.
fn groups(pattern: &[u8]) -> Option<usize> {
    let (mut groups, mut depth) = (0, 0_usize);
    // Whether the branch is empty, and whether its last part can be repeated.
    let (mut is_empty, mut is_atom) = (true, false);
    let mut rest = pattern;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        match octet {
            b'(' | b'|' => {
                if *octet == b'(' {
                    (groups, depth) = (groups + 1, depth + 1);
                } else if is_empty {
                    return None;
                }
                (is_empty, is_atom) = (true, false);
                continue;
            }
            b')' if is_empty => return None,
            b')' => depth = depth.checked_sub(1)?,
            b'*' | b'+' | b'?' | b'{' => {
                if !is_atom {
                    return None;
                }
                if *octet == b'{' {
                    rest = after_bounds(rest)?;
                }
            }
            b'[' => rest = after_list(rest)?,
            b'\\' => match rest {
                [digit, ..] if digit.is_ascii_digit() => return None,
                [_, behind @ ..] => rest = behind,
                [] => return None,
            },
            _ => {}
        }
        is_empty = false;
        is_atom = !matches!(octet, b'*' | b'+' | b'?' | b'{' | b'^' | b'$');
    }
    (depth == 0 && !is_empty).then_some(groups)
}

/// The text after bounds such as `{1,2}`, whose opening brace has been read.
fn after_bounds(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|octet| *octet == b'}')?;
    let bounds = std::str::from_utf8(&text[..end]).ok()?;
    let (min, max) = bounds.split_once(',').unwrap_or((bounds, bounds));
    let min: u8 = min.parse().ok()?;
    let is_valid = max.is_empty() || max.parse::<u8>().is_ok_and(|max| max >= min);
    is_valid.then_some(&text[end + 1..])
}

/// The text after a list such as `[a-z]`, whose opening bracket has been read. A closing
/// bracket at the start, or after `^`, is an element of the list.
fn after_list(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"^").unwrap_or(text);
    let mut is_first = true;
    loop {
        match rest {
            [b']', behind @ ..] if !is_first => return Some(behind),
            [b'[', b':', behind @ ..] => {
                let end = behind.windows(2).position(|pair| pair == b":]")?;
                let name = std::str::from_utf8(&behind[..end]).ok()?;
                if !CLASSES.contains(&name) {
                    return None;
                }
                rest = &behind[end + 2..];
            }
            [b'[', b'.' | b'=', ..] | [] => return None,
            [first, b'-', last, behind @ ..] if *last != b']' => {
                if first > last {
                    return None;
                }
                rest = behind;
            }
            [_, behind @ ..] => rest = behind,
        }
        is_first = false;
    }
}
