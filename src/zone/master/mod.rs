//! Master files (RFC 1035, section 5): a zone can have static records from one, and a dump
//! is one.
//!
//! A file is served as BIND would serve it, or refused with the line. No record is omitted
//! or changed: a record that is not allowed in a zone of this service, that does not fit
//! in a message, or that servers parse differently is a mistake.
//! `tests/zones/master_files.rs` compares this with BIND, and lists the differences.
//!
//! * `files`: opens the file and those that it includes, within limits.
//! * `token`: the syntax; `name`: names; `layout`: the record types and their RDATA;
//!   `rdata`, `svcb` and `substitution`: the text format of RDATA.
//! * `reader`: directives and entries, one after the other.
//! * `check`: all records together, in the zone.
//! * `line`: a record as a line of a dump.

mod check;
mod files;
mod layout;
mod line;
mod name;
mod rdata;
mod reader;
mod substitution;
mod svcb;
mod token;

use std::path::Path;

use self::{files::Files, reader::Reader};
use super::Zone;
use crate::settings::Problem;

pub use super::StaticRecords;
pub use line::line;

/// Reads the static records of a zone from a file and the files that it includes.
pub fn read(path: &Path, zone: &Zone) -> Result<StaticRecords, Vec<Problem>> {
    let mut files = Files::new();
    match files.open(path) {
        Ok(text) => records(files, path, &text, zone),
        Err(message) => Err(vec![Problem::new(path, None, message)]),
    }
}

/// Parses the text of a master file. Opens no file: the text cannot include any.
pub fn parse(path: &Path, text: &[u8], zone: &Zone) -> Result<StaticRecords, Vec<Problem>> {
    records(Files::without_includes(), path, text, zone)
}

/// Reads and checks all records. Returns the mistakes of single entries and of records
/// together.
fn records(
    files: Files,
    path: &Path,
    text: &[u8],
    zone: &Zone,
) -> Result<StaticRecords, Vec<Problem>> {
    let reader = Reader::read(files, path, text, zone);
    let mut problems = reader.problems;
    match check::records(reader.records, zone) {
        Ok(records) if problems.is_empty() => return Ok(records),
        Ok(_) => {}
        Err(conflicts) => problems.extend(conflicts),
    }
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems.truncate(reader::MAX_PROBLEMS);
    Err(problems)
}
