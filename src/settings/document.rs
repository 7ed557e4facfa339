//! A TOML file while it is read, and the problems found in it so far.

use std::{ops::Range, path::Path};

use super::problem::Problem;

/// A position in the file, in bytes.
pub type Span = Range<usize>;

/// A file while it is read, with the problems found so far.
pub struct Document<'t> {
    path: &'t Path,
    text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Document<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        Self {
            path,
            text,
            problems: Vec::new(),
        }
    }

    pub fn path(&self) -> &Path {
        self.path
    }

    pub fn text(&self) -> &str {
        self.text
    }

    /// The line of a position, counted from 1.
    pub fn line(&self, span: &Span) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// Reports a problem at a position, unless it has been reported there already.
    pub fn problem(&mut self, span: Span, message: impl Into<String>) {
        let problem = Problem::new(self.path, Some(self.line(&span)), message);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports a problem with a value, and returns that there is none.
    pub fn refuse<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.problem(span, message);
        None
    }

    /// Whether a problem was reported.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The problems of a file that is not valid TOML: only the first of each line, since
    /// the others on a line usually follow from it.
    pub(super) fn syntax_problems(mut self, errors: Vec<toml::de::Error>) -> Vec<Problem> {
        for error in errors {
            self.problem(error.span().unwrap_or(0..0), error.message());
        }
        self.problems.sort_by_key(|problem| problem.line);
        self.problems.dedup_by_key(|problem| problem.line);
        self.problems
    }

    /// Adds problems that were found in another file.
    pub fn problems(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }
}
