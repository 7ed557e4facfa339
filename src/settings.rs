//! Reading files that people write: TOML, and what is wrong with it.
//!
//! A reader takes the keys that it knows out of a [`Table`]; what is left over
//! is unknown. Nothing stops at the first mistake: each becomes a [`Problem`]
//! with its file and line, so that one look shows them all.

use std::{
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in a file, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    /// From 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where something stands in a file, in bytes.
pub type Span = Range<usize>;

/// A file being read, and the problems found in it so far.
pub struct Source<'t> {
    path: &'t Path,
    text: &'t str,
    problems: Vec<Problem>,
}

/// Reads a TOML file: `reader` makes a value of its top-level table, or notes
/// what is wrong. Gives the value if nothing was, else all problems by line.
pub fn read<T>(
    path: &Path,
    reader: impl FnOnce(&mut Table<'_>, &mut Source<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let text = text_of(path)?;
    parse(path, &text, reader)
}

/// The text of a file that somebody has written.
pub fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    fs::read_to_string(path).map_err(|error| {
        vec![Problem {
            path: path.to_owned(),
            line: None,
            message: format!("cannot be read: {error}"),
        }]
    })
}

/// The same for the text of a file; `path` is what its problems name.
pub fn parse<T>(
    path: &Path,
    text: &str,
    reader: impl FnOnce(&mut Table<'_>, &mut Source<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let mut source = Source {
        path,
        text,
        problems: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(source.syntax_problems(errors));
    }
    let mut table = Table::new(String::new(), table);
    let value = reader(&mut table, &mut source);
    table.finish(&mut source);
    let mut problems = source.problems;
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => {
            problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
            Err(problems)
        }
    }
}

impl Source<'_> {
    pub fn path(&self) -> &Path {
        self.path
    }

    /// The line of that place, from 1.
    pub fn line(&self, span: &Span) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// Notes a mistake at that place. The same is noted once.
    pub fn problem(&mut self, span: Span, message: impl Into<String>) {
        let problem = Problem {
            path: self.path.to_owned(),
            line: Some(self.line(&span)),
            message: message.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether a mistake was noted.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The mistakes of a text that is no TOML: the first of each line, without
    /// what follows from it, and without what the values would be.
    fn syntax_problems(mut self, errors: Vec<toml::de::Error>) -> Vec<Problem> {
        for error in errors {
            self.problem(error.span().unwrap_or(0..0), error.message());
        }
        self.problems.sort_by_key(|problem| problem.line);
        self.problems.dedup_by_key(|problem| problem.line);
        self.problems
    }

    /// Notes mistakes that were found in another file.
    pub fn problems(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }
}

/// A table of which keys are taken one by one.
pub struct Table<'t> {
    /// How the table is called in messages: `[roles.rest]`.
    name: String,
    span: Span,
    /// Whether it stands for something that is no table, and so has no entries.
    is_wrong: bool,
    entries: Vec<Entry<'t>>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

struct Entry<'t> {
    key: String,
    key_span: Span,
    value: Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    fn new(name: String, table: Spanned<DeTable<'t>>) -> Self {
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

    /// Whether the value is a text.
    pub fn is_text(&self, key: &str) -> bool {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.key == key);
        entry.is_some_and(|entry| matches!(entry.value.get_ref(), DeValue::String(_)))
    }

    /// Where the key stands, if it is there and was not yet taken.
    pub fn span(&self, key: &str) -> Option<Span> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.key == key)?;
        Some(entry.key_span.clone())
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, source: &mut Source) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        text(value, key, source)
    }

    /// Whether it is no table, which is noted.
    pub fn is_wrong(&self) -> bool {
        self.is_wrong
    }

    /// A text that must be there.
    pub fn required(
        &mut self,
        key: &'static str,
        example: &str,
        source: &mut Source,
    ) -> Option<Spanned<String>> {
        if self.entries.iter().any(|entry| entry.key == key) {
            return self.text(key, source);
        }
        self.known.push(key);
        if self.is_wrong {
            return None;
        }
        let name = &self.name;
        let place = if name.is_empty() { "the file" } else { name };
        let message = format!("{place} has no `{key}`: write {key} = {example}");
        source.problem(self.span.clone(), message);
        None
    }

    /// A whole number within a range.
    pub fn number(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        source: &mut Source,
    ) -> Option<Spanned<u32>> {
        let value = self.take(key)?;
        number(&value, key, range, source)
    }

    /// A time span such as `30s`, within a range of seconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        seconds: Range<u64>,
        source: &mut Source,
    ) -> Option<Duration> {
        let value = self.text(key, source)?;
        duration(&value, key, seconds, source)
    }

    /// Yes or no.
    pub fn boolean(&mut self, key: &'static str, source: &mut Source) -> Option<bool> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => {
                source.problem(value.span(), format!("`{key}` is true or false"));
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(
        &mut self,
        key: &'static str,
        source: &mut Source,
    ) -> Option<Vec<Spanned<String>>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| text(item, key, source))
                .collect(),
            _ => {
                source.problem(
                    span,
                    format!("`{key}` is a list: write {key} = [\"…\", \"…\"]"),
                );
                None
            }
        }
    }

    /// A table in this one; an empty one where there is none.
    pub fn table(&mut self, key: &'static str, source: &mut Source) -> Table<'t> {
        self.optional_table(key, source).unwrap_or_else(|| {
            let empty = Spanned::new(self.span.clone(), DeTable::new());
            Table::new(self.name_of(key), empty)
        })
    }

    /// A table in this one, if it is there.
    pub fn optional_table(&mut self, key: &'static str, source: &mut Source) -> Option<Table<'t>> {
        let name = self.name_of(key);
        let value = self.take(key)?;
        Some(subtable(name, value, source))
    }

    /// The tables that are left, with their names.
    pub fn tables(&mut self, source: &mut Source) -> Vec<(Spanned<String>, Table<'t>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|entry| {
                let name = self.name_of(&entry.key);
                let key = Spanned::new(entry.key_span, entry.key);
                (key, subtable(name, entry.value, source))
            })
            .collect()
    }

    /// The texts that are left, with their names.
    pub fn all_texts(&mut self, source: &mut Source) -> Vec<(Spanned<String>, Spanned<String>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .filter_map(|entry| {
                let value = text(entry.value, &entry.key, source)?;
                Some((Spanned::new(entry.key_span, entry.key), value))
            })
            .collect()
    }

    /// The numbers that are left, with their names; `None` for what is no number
    /// within the range, which is noted.
    pub fn all_numbers(
        &mut self,
        range: Range<u64>,
        source: &mut Source,
    ) -> Vec<(Spanned<String>, Option<Spanned<u32>>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|entry| {
                let value = number(&entry.value, &entry.key, range.clone(), source);
                (Spanned::new(entry.key_span, entry.key), value)
            })
            .collect()
    }

    /// Says which keys are unknown. To be called when all known ones are taken.
    pub fn finish(&mut self, source: &mut Source) {
        for entry in &self.entries {
            let place = match self.name.as_str() {
                "" => String::new(),
                name => format!(" in {name}"),
            };
            let message = format!(
                "unknown key `{}`{place}: known are {}",
                entry.key,
                self.known.join(", ")
            );
            source.problem(entry.key_span.clone(), message);
        }
    }

    fn name_of(&self, key: &str) -> String {
        match self.name.strip_suffix(']') {
            Some(name) => format!("{name}.{key}]"),
            None => format!("[{key}]"),
        }
    }
}

/// Reads a time span of a number of seconds within the range.
pub fn duration(
    value: &Spanned<String>,
    key: &str,
    seconds: Range<u64>,
    source: &mut Source,
) -> Option<Duration> {
    match humantime::parse_duration(value.get_ref()) {
        Ok(duration) if seconds.contains(&duration.as_secs()) => Some(duration),
        Ok(_) => {
            let (least, most) = (seconds.start, seconds.end - 1);
            let message = format!("`{key}` is from {least}s to {most}s");
            source.problem(value.span(), message);
            None
        }
        Err(error) => {
            let message = format!(
                "`{}` is no time span ({error}): write {key} = \"30s\" or \"5m\"",
                value.get_ref()
            );
            source.problem(value.span(), message);
            None
        }
    }
}

fn text(value: Spanned<DeValue<'_>>, key: &str, source: &mut Source) -> Option<Spanned<String>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
        _ => {
            source.problem(span, format!("`{key}` is a text: write {key} = \"…\""));
            None
        }
    }
}

fn number(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: Range<u64>,
    source: &mut Source,
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
            let (least, most) = (range.start, range.end - 1);
            let message = format!("`{key}` is a whole number from {least} to {most}");
            source.problem(span, message);
            None
        }
    }
}

fn subtable<'t>(name: String, value: Spanned<DeValue<'t>>, source: &mut Source) -> Table<'t> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Table::new(name, Spanned::new(span, table)),
        _ => {
            source.problem(
                span.clone(),
                format!("this is a table: write it under {name}"),
            );
            Table {
                is_wrong: true,
                ..Table::new(name, Spanned::new(span, DeTable::new()))
            }
        }
    }
}
