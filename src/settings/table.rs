//! A TOML table whose keys are taken one by one.

use std::{ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::document::{Document, Span};

/// A table whose keys are taken one by one.
pub struct Table<'t> {
    /// The table's name in messages: `[roles.rest]`.
    name: String,
    span: Span,
    /// Whether the value is not a table. It then has no entries.
    is_wrong: bool,
    /// The entries that have not been taken yet.
    entries: DeTable<'t>,
    /// The keys that the reader knows.
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    pub(super) fn new(name: String, table: Spanned<DeTable<'t>>) -> Self {
        Self {
            name,
            span: table.span(),
            is_wrong: false,
            entries: table.into_inner(),
            known: Vec::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// Takes the remaining entries.
    fn rest(&mut self) -> impl Iterator<Item = (Spanned<String>, Spanned<DeValue<'t>>)> + use<'t> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.map(|(key, value)| {
            let name = Spanned::new(key.span(), key.into_inner().into_owned());
            (name, value)
        })
    }

    /// The string of a key that has not been taken yet; `None` for any other value.
    pub fn peek(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.get_ref().as_str()
    }

    /// The position of a key that has not been taken yet.
    pub fn span(&self, key: &str) -> Option<Span> {
        let (key, _) = self.entries.get_key_value(key)?;
        Some(key.span())
    }

    /// A string.
    pub fn text(&mut self, key: &'static str, document: &mut Document) -> Option<Spanned<String>> {
        text(self.take(key)?, key, document)
    }

    /// Whether the value is not a table, which has been reported.
    pub fn is_wrong(&self) -> bool {
        self.is_wrong
    }

    /// A string that must be present.
    pub fn required(
        &mut self,
        key: &'static str,
        example: &str,
        document: &mut Document,
    ) -> Option<Spanned<String>> {
        match self.take(key) {
            Some(value) => text(value, key, document),
            None if self.is_wrong => None,
            None => {
                let name = &self.name;
                let place = if name.is_empty() { "the file" } else { name };
                let message = format!("{place} has no `{key}`: write {key} = {example}");
                document.refuse(self.span.clone(), message)
            }
        }
    }

    /// An integer in a range.
    pub fn number(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        document: &mut Document,
    ) -> Option<Spanned<u32>> {
        number(&self.take(key)?, key, range, document)
    }

    /// A duration such as `30s`, in a range of seconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        seconds: Range<u64>,
        document: &mut Document,
    ) -> Option<Duration> {
        let value = self.text(key, document)?;
        let message = match humantime::parse_duration(value.get_ref()) {
            Ok(duration) if seconds.contains(&duration.as_secs()) => return Some(duration),
            Ok(_) => {
                let (min, max) = (seconds.start, seconds.end - 1);
                format!("`{key}` must be between {min}s and {max}s")
            }
            Err(error) => {
                let text = value.get_ref();
                format!("invalid duration `{text}` ({error}): write {key} = \"30s\" or \"5m\"")
            }
        };
        document.refuse(value.span(), message)
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &'static str, document: &mut Document) -> Option<bool> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => document.refuse(value.span(), format!("`{key}`: expected true or false")),
        }
    }

    /// An array of strings.
    pub fn texts(
        &mut self,
        key: &'static str,
        document: &mut Document,
    ) -> Option<Vec<Spanned<String>>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            let what = format!("an array of strings: write {key} = [\"…\", \"…\"]");
            return document.refuse(span, format!("`{key}`: expected {what}"));
        };
        let items = items.into_iter();
        items.map(|item| text(item, key, document)).collect()
    }

    /// A subtable, empty if it is absent.
    pub fn table(&mut self, key: &'static str, document: &mut Document) -> Table<'t> {
        self.optional_table(key, document).unwrap_or_else(|| {
            let empty = Spanned::new(self.span.clone(), DeTable::new());
            Table::new(self.name_of(key), empty)
        })
    }

    /// A subtable, if it is present.
    pub fn optional_table(
        &mut self,
        key: &'static str,
        document: &mut Document,
    ) -> Option<Table<'t>> {
        let value = self.take(key)?;
        Some(subtable(self.name_of(key), value, document))
    }

    /// The remaining subtables, with their names.
    pub fn tables(&mut self, document: &mut Document) -> Vec<(Spanned<String>, Table<'t>)> {
        self.rest()
            .map(|(key, value)| {
                let table = subtable(self.name_of(key.get_ref()), value, document);
                (key, table)
            })
            .collect()
    }

    /// The remaining strings, with their names.
    pub fn all_texts(
        &mut self,
        document: &mut Document,
    ) -> Vec<(Spanned<String>, Spanned<String>)> {
        self.rest()
            .filter_map(|(key, value)| {
                let text = text(value, key.get_ref(), document)?;
                Some((key, text))
            })
            .collect()
    }

    /// The remaining integers, with their names; `None` for a value that is not an
    /// integer in the range, which is reported.
    pub fn all_numbers(
        &mut self,
        range: Range<u64>,
        document: &mut Document,
    ) -> Vec<(Spanned<String>, Option<Spanned<u32>>)> {
        self.rest()
            .map(|(key, value)| {
                let number = number(&value, key.get_ref(), range.clone(), document);
                (key, number)
            })
            .collect()
    }

    /// Reports the remaining keys as unknown. Call it after all known keys have
    /// been taken.
    pub fn finish(&mut self, document: &mut Document) {
        let place = match self.name.as_str() {
            "" => String::new(),
            name => format!(" in {name}"),
        };
        let known = self.known.join(", ");
        for (key, _) in self.rest() {
            let name = key.get_ref();
            let message = format!("unknown key `{name}`{place}: expected one of {known}");
            document.problem(key.span(), message);
        }
    }

    fn name_of(&self, key: &str) -> String {
        match self.name.strip_suffix(']') {
            Some(name) => format!("{name}.{key}]"),
            None => format!("[{key}]"),
        }
    }
}

fn subtable<'t>(name: String, value: Spanned<DeValue<'t>>, document: &mut Document) -> Table<'t> {
    let span = value.span();
    let (entries, is_wrong) = match value.into_inner() {
        DeValue::Table(entries) => (entries, false),
        _ => {
            let message = format!("expected a table: write it under {name}");
            document.problem(span.clone(), message);
            (DeTable::new(), true)
        }
    };
    Table {
        is_wrong,
        ..Table::new(name, Spanned::new(span, entries))
    }
}

fn text(
    value: Spanned<DeValue<'_>>,
    key: &str,
    document: &mut Document,
) -> Option<Spanned<String>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
        _ => document.refuse(
            span,
            format!("`{key}`: expected a string: write {key} = \"…\""),
        ),
    }
}

fn number(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: Range<u64>,
    document: &mut Document,
) -> Option<Spanned<u32>> {
    let number = match value.get_ref() {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    let number = number.filter(|number| range.contains(number));
    let Some(number) = number.and_then(|number| u32::try_from(number).ok()) else {
        let (min, max) = (range.start, range.end - 1);
        let message = format!("`{key}`: expected an integer from {min} to {max}");
        return document.refuse(value.span(), message);
    };
    Some(Spanned::new(value.span(), number))
}
