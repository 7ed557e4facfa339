//! Zone files, master files, and the names and environments that they define.

#[path = "../common/mod.rs"]
mod common;

mod environments;
mod further_records;
mod master_files;
mod names;
mod numbers;
mod variables;
mod zone_files;
