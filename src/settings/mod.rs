//! Reads TOML files that people write, and reports all mistakes at once.
//!
//! A reader takes the keys that it knows out of a [`Table`]; any remaining key is
//! unknown. Reading does not stop at the first mistake: each becomes a [`Problem`] with
//! its file and line, so that one run shows them all.
//!
//! No other module uses the TOML parser. The modules that own a setting define
//! its keys and their valid values.

mod document;
mod problem;
mod table;

use std::{fs, path::Path};

use hickory_proto::rr::Name;
use toml::de::DeTable;

pub use toml::Spanned;

pub use self::{
    document::{Document, Span},
    problem::{Mistake, Problem},
    table::Table,
};

/// Reads a TOML file: `reader` turns its top-level table into a value, or reports
/// problems.
///
/// # Errors
///
/// All problems of the file, by line.
pub fn read<T>(
    path: &Path,
    reader: impl FnOnce(&mut Table<'_>, &mut Document<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let text = text_of(path)?;
    parse(path, &text, reader)
}

/// Like [`read`], with the text of the file. Problems name `path`.
pub fn parse<T>(
    path: &Path,
    text: &str,
    reader: impl FnOnce(&mut Table<'_>, &mut Document<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let mut document = Document::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(document.syntax_problems(errors));
    }
    let mut table = Table::new(String::new(), table);
    let value = reader(&mut table, &mut document);
    table.finish(&mut document);
    let mut problems = document.problems;
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => {
            problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
            Err(problems)
        }
    }
}

/// Reads a file as text.
pub fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    fs::read_to_string(path)
        .map_err(|error| vec![Problem::new(path, None, format!("cannot be read: {error}"))])
}

/// Parses a domain name other than the root. The result is absolute and in lower case.
pub fn domain_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    (!name.is_root()).then(|| name.to_lowercase())
}
