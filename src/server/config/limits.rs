//! The limits of the configuration.

use std::time::Duration;

use crate::settings::{Document, Table};

/// A day, in seconds.
const DAY: u64 = 86_400;

/// The highest configurable numbers of concurrent transfers, and of MiB in each.
const MAX_TRANSFERS: u64 = 1_024;
const MAX_MEBIBYTES: u64 = 1 << 24;

/// The limits of zone transfers. While a transfer is running, it keeps a snapshot of
/// its zone in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// The time from the query until the last message is written.
    pub time: Duration,
    pub bytes: u64,
    /// The number of concurrent transfers.
    pub count: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            bytes: 8_192 << 20,
            count: 8,
        }
    }
}

/// The table `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The number of responses per second to the unverified sources of one network;
    /// 0 for no limit.
    pub responses_per_second: u32,
    /// Which of the responses above this limit are sent truncated: 1 for each of
    /// them, 2 for every second, and so on; 0 for none.
    pub slip: u32,
    /// The number of new hosts that one document may register at once; 0 for no limit.
    pub new_hosts_per_source: u32,
    /// The interval after which it may register one more.
    pub new_host_every: Duration,
    /// How often a host may change its holder or leave at once; 0 for no limit.
    pub changes_per_host: u32,
    /// The interval after which it may do so once more.
    pub change_every: Duration,
    pub transfers: TransferLimits,
}

impl Default for Limits {
    /// The defaults are far above the needs of 1,000 peers behind one address.
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
    pub fn take(table: &mut Table<'_>, document: &mut Document<'_>) -> Self {
        let mut limits = Self::default();
        for (key, max, limit) in [
            (
                "responses_per_second",
                1_000_000,
                &mut limits.responses_per_second,
            ),
            ("slip", 10, &mut limits.slip),
            (
                "new_hosts_per_source",
                1_000_000,
                &mut limits.new_hosts_per_source,
            ),
            ("changes_per_host", 1_000_000, &mut limits.changes_per_host),
        ] {
            if let Some(number) = table.number(key, 0..max + 1, document) {
                *limit = number.into_inner();
            }
        }
        let transfers = &mut limits.transfers;
        for (key, limit) in [
            ("new_host_every", &mut limits.new_host_every),
            ("change_every", &mut limits.change_every),
            ("transfer_time", &mut transfers.time),
        ] {
            if let Some(duration) = table.duration(key, 1..DAY + 1, document) {
                *limit = duration;
            }
        }
        let mebibytes = table.number("transfer_mebibytes", 1..MAX_MEBIBYTES + 1, document);
        if let Some(mebibytes) = mebibytes {
            transfers.bytes = u64::from(mebibytes.into_inner()) << 20;
        }
        if let Some(count) = table.number("transfers", 1..MAX_TRANSFERS + 1, document) {
            transfers.count = count.into_inner() as usize;
        }
        table.finish(document);
        limits
    }
}
