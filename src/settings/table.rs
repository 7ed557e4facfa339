//! A TOML table whose keys are taken one by one.

use std::{ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::{Document, Span},
    value::{duration, number, text},
};

/// A table whose keys are taken one by one.
pub struct Table<'t> {
    /// The table's name in messages: `[roles.rest]`.
    name: String,
    span: Span,
    /// Whether the value is not a table. It then has no entries.
    is_wrong: bool,
    entries: Vec<Entry<'t>>,
    /// The keys that the reader knows.
    known: Vec<&'static str>,
}

struct Entry<'t> {
    key: String,
    key_span: Span,
    value: Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    pub(super) fn new(name: String, table: Spanned<DeTable<'t>>) -> Self {
        let span = table.span();
        let entries = table.into_inner().into_iter().map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            value,
        });
        Self {
            name,
            span,
            is_wrong: false,
            entries: entries.collect(),
            known: Vec::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.swap_remove(place).value)
    }

    fn entry(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether the value is a string.
    pub fn is_text(&self, key: &str) -> bool {
        self.entry(key)
            .is_some_and(|entry| matches!(entry.value.get_ref(), DeValue::String(_)))
    }

    /// The position of a key that has not been taken yet.
    pub fn span(&self, key: &str) -> Option<Span> {
        Some(self.entry(key)?.key_span.clone())
    }

    /// A string.
    pub fn text(&mut self, key: &'static str, document: &mut Document) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        text(value, key, document)
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
        if self.entry(key).is_some() {
            return self.text(key, document);
        }
        self.known.push(key);
        if self.is_wrong {
            return None;
        }
        let name = &self.name;
        let place = if name.is_empty() { "the file" } else { name };
        let message = format!("{place} has no `{key}`: write {key} = {example}");
        document.problem(self.span.clone(), message);
        None
    }

    /// An integer in a range.
    pub fn number(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        document: &mut Document,
    ) -> Option<Spanned<u32>> {
        let value = self.take(key)?;
        number(&value, key, range, document)
    }

    /// A duration such as `30s`, in a range of seconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        seconds: Range<u64>,
        document: &mut Document,
    ) -> Option<Duration> {
        let value = self.text(key, document)?;
        duration(&value, key, seconds, document)
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &'static str, document: &mut Document) -> Option<bool> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => {
                document.problem(value.span(), format!("`{key}`: expected true or false"));
                None
            }
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
        match value.into_inner() {
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| text(item, key, document))
                .collect(),
            _ => {
                document.problem(
                    span,
                    format!("`{key}`: expected an array of strings: write {key} = [\"…\", \"…\"]"),
                );
                None
            }
        }
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
        let name = self.name_of(key);
        let value = self.take(key)?;
        Some(subtable(name, value, document))
    }

    /// The remaining subtables, with their names.
    pub fn tables(&mut self, document: &mut Document) -> Vec<(Spanned<String>, Table<'t>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|entry| {
                let name = self.name_of(&entry.key);
                let key = Spanned::new(entry.key_span, entry.key);
                (key, subtable(name, entry.value, document))
            })
            .collect()
    }

    /// The remaining strings, with their names.
    pub fn all_texts(
        &mut self,
        document: &mut Document,
    ) -> Vec<(Spanned<String>, Spanned<String>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .filter_map(|entry| {
                let value = text(entry.value, &entry.key, document)?;
                Some((Spanned::new(entry.key_span, entry.key), value))
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
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|entry| {
                let value = number(&entry.value, &entry.key, range.clone(), document);
                (Spanned::new(entry.key_span, entry.key), value)
            })
            .collect()
    }

    /// Reports the remaining keys as unknown. Call it after all known keys have
    /// been taken.
    pub fn finish(&mut self, document: &mut Document) {
        for entry in &self.entries {
            let place = match self.name.as_str() {
                "" => String::new(),
                name => format!(" in {name}"),
            };
            let (key, known) = (&entry.key, self.known.join(", "));
            let message = format!("unknown key `{key}`{place}: expected one of {known}");
            document.problem(entry.key_span.clone(), message);
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
    match value.into_inner() {
        DeValue::Table(table) => Table::new(name, Spanned::new(span, table)),
        _ => {
            document.problem(
                span.clone(),
                format!("expected a table: write it under {name}"),
            );
            Table {
                is_wrong: true,
                ..Table::new(name, Spanned::new(span, DeTable::new()))
            }
        }
    }
}
