//! Master files (RFC 1035, section 5): the further records of a zone are read
//! from one, and a dump is one.
//!
//! A file is served as BIND would serve it, or refused with the line. No record
//! is left out or changed: what has no place in a zone of this service, what no
//! message can carry, and what servers read in different ways is a mistake.
//! `tests/zones/master_files.rs` compares that with BIND, and lists the differences.
//!
//! * `files`: the file itself and those that it includes, within bounds.
//! * `token`: the syntax, `name`: names, `layout`: the record types and their
//!   RDATA, `rdata`, `svcb` and `substitution`: RDATA as it is written.
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

pub use super::Records;
pub use line::{Line, line};

/// Reads the further records of a zone, with the files that the file includes.
pub fn read(path: &Path, zone: &Zone) -> Result<Records, Vec<Problem>> {
    let mut reader = Reader::new(Files::new(), zone);
    reader.file(path, zone);
    checked(reader, zone)
}

/// Reads the text of a master file, which cannot include another: nothing is
/// opened.
pub fn parse(path: &Path, text: &[u8], zone: &Zone) -> Result<Records, Vec<Problem>> {
    let mut reader = Reader::new(Files::none(), zone);
    reader.text(path, text, zone);
    checked(reader, zone)
}

/// All mistakes, of single entries and of records together.
fn checked(reader: Reader, zone: &Zone) -> Result<Records, Vec<Problem>> {
    let mut problems = reader.problems;
    let records = check::records(reader.records, zone);
    match records {
        Ok(records) if problems.is_empty() => return Ok(records),
        Ok(_) => {}
        Err(found) => problems.extend(found),
    }
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems.truncate(reader::MOST_PROBLEMS);
    Err(problems)
}
