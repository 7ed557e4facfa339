//! The commands, the configuration file, and what is printed.

#[path = "../common/mod.rs"]
mod common;

mod administration;
mod configuration;
mod health;
mod key_files;
mod messages;
mod options;
mod readme;
