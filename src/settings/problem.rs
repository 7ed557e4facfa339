//! A mistake in a file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A mistake in a file, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    pub message: String,
}

impl Problem {
    pub fn new(path: &Path, line: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
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

/// A mistake in a line of the text that is read.
#[derive(Debug)]
pub struct Mistake {
    pub line: usize,
    pub message: String,
}

impl Mistake {
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { line, message }
    }

    /// The mistake as that of the file with the text.
    pub fn in_file(self, path: &Path) -> Problem {
        Problem::new(path, Some(self.line), self.message)
    }
}
