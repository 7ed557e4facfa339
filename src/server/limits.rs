//! How much the service does for others before it stops: `[limits]` in the
//! configuration file.

use crate::settings::{Source, Table};

use super::transfer::TransferLimits;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Limits {
    pub transfers: TransferLimits,
}

impl Limits {
    /// Reads the table `[limits]`.
    pub fn take(table: &mut Table<'_>, source: &mut Source<'_>) -> Self {
        let mut limits = Self::default();
        limits.transfers.take(table, source);
        table.finish(source);
        limits
    }
}
