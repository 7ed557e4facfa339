//! How much the service does for others.

use std::time::Duration;

use crate::settings::{Document, Spanned, Table};

/// A day, in seconds.
const DAY: u64 = 86_400;

/// How many transfers can be allowed at once, and how many MiB to each.
const MOST_TRANSFERS: u64 = 1_024;
const MOST_MEBIBYTES: u64 = 1 << 24;

/// How much a client may make of a transfer. Each holds a zone as it was, for
/// as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// From the query until the last message is written.
    pub time: Duration,
    pub octets: u64,
    /// How many run at once.
    pub count: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            octets: 8_192 << 20,
            count: 8,
        }
    }
}

impl TransferLimits {
    /// Reads the keys of transfers in `[limits]`.
    fn take(&mut self, table: &mut Table<'_>, source: &mut Document<'_>) {
        if let Some(time) = table.duration("transfer_time", 1..DAY + 1, source) {
            self.time = time;
        }
        let mebibytes = table.number("transfer_mebibytes", 1..MOST_MEBIBYTES + 1, source);
        if let Some(mebibytes) = mebibytes {
            self.octets = u64::from(mebibytes.into_inner()) << 20;
        }
        if let Some(count) = table.number("transfers", 1..MOST_TRANSFERS + 1, source) {
            self.count = count.into_inner() as usize;
        }
    }
}

/// What the configuration allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Answers a second to the sources of one network that are not proven; 0 for
    /// no limit.
    pub responses_per_second: u32,
    /// Which of the answers above that are sent truncated: every one, every
    /// second, ...; 0 for none.
    pub slip: u32,
    /// How many new hosts one source may register at once; 0 for no limit.
    pub new_hosts_per_source: u32,
    /// How long it takes until it may register one more.
    pub new_host_every: Duration,
    /// How often a host may change its holder, or leave, at once; 0 for no limit.
    pub changes_per_host: u32,
    /// How long it takes until it may do so once more.
    pub change_every: Duration,
    pub transfers: TransferLimits,
}

impl Default for Limits {
    /// Far more than 1,000 peers behind one address ask for.
    fn default() -> Self {
        Self {
            responses_per_second: 1_000,
            slip: 2,
            new_hosts_per_source: 16_384,
            new_host_every: Duration::from_secs(1),
            changes_per_host: 32,
            change_every: Duration::from_secs(5),
            transfers: TransferLimits::default(),
        }
    }
}

impl Limits {
    /// Reads the table `[limits]`.
    pub fn take(table: &mut Table<'_>, source: &mut Document<'_>) -> Self {
        let default = Self::default();
        let mut number = |key, most: u64, default| {
            let number = table.number(key, 0..most + 1, source);
            number.map_or(default, Spanned::into_inner)
        };
        let responses_per_second = number(
            "responses_per_second",
            1_000_000,
            default.responses_per_second,
        );
        let slip = number("slip", 10, default.slip);
        let new_hosts_per_source = number(
            "new_hosts_per_source",
            1_000_000,
            default.new_hosts_per_source,
        );
        let changes_per_host = number("changes_per_host", 1_000_000, default.changes_per_host);
        let every = table.duration("new_host_every", 1..86_401, source);
        let change_every = table.duration("change_every", 1..86_401, source);
        let mut transfers = default.transfers;
        transfers.take(table, source);
        table.finish(source);
        Self {
            responses_per_second,
            slip,
            new_hosts_per_source,
            new_host_every: every.unwrap_or(default.new_host_every),
            changes_per_host,
            change_every: change_every.unwrap_or(default.change_every),
            transfers,
        }
    }
}
