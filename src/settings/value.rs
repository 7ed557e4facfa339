//! Parses the values of keys.

use std::{ops::Range, time::Duration};

use toml::{Spanned, de::DeValue};

use super::document::Document;

/// Parses a duration in a range of seconds.
pub fn duration(
    value: &Spanned<String>,
    key: &str,
    seconds: Range<u64>,
    document: &mut Document,
) -> Option<Duration> {
    match humantime::parse_duration(value.get_ref()) {
        Ok(duration) if seconds.contains(&duration.as_secs()) => Some(duration),
        Ok(_) => {
            let (min, max) = (seconds.start, seconds.end - 1);
            let message = format!("`{key}` must be between {min}s and {max}s");
            document.problem(value.span(), message);
            None
        }
        Err(error) => {
            let message = format!(
                "invalid duration `{}` ({error}): write {key} = \"30s\" or \"5m\"",
                value.get_ref()
            );
            document.problem(value.span(), message);
            None
        }
    }
}

pub(super) fn text(
    value: Spanned<DeValue<'_>>,
    key: &str,
    document: &mut Document,
) -> Option<Spanned<String>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
        _ => {
            document.problem(
                span,
                format!("`{key}`: expected a string: write {key} = \"…\""),
            );
            None
        }
    }
}

pub(super) fn number(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: Range<u64>,
    document: &mut Document,
) -> Option<Spanned<u32>> {
    let span = value.span();
    let number = match value.get_ref() {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    let within = number.filter(|number| range.contains(number));
    match within.and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Some(Spanned::new(span, number)),
        None => {
            let (min, max) = (range.start, range.end - 1);
            let message = format!("`{key}`: expected an integer from {min} to {max}");
            document.problem(span, message);
            None
        }
    }
}
