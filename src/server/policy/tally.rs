//! Counts events for periodic lines in the log.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use ipnet::IpNet;

/// The number of events since the last report, and the network that caused the first.
#[derive(Default)]
pub struct Tally {
    count: AtomicU64,
    first: Mutex<Option<IpNet>>,
}

impl Tally {
    /// Counts an event, and returns the new count.
    pub fn add(&self, network: IpNet) -> u64 {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        // Only the first event after a report takes the lock.
        if before == 0
            && let Ok(mut first) = self.first.lock()
        {
            *first = Some(network);
        }
        before + 1
    }

    /// Returns the first network and the count, if there were any events, and resets
    /// both.
    pub fn take(&self) -> Option<(IpNet, u64)> {
        let mut first = self.first.lock().ok()?;
        let network = first.take()?;
        Some((network, self.count.swap(0, Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_first_network_and_the_count_and_resets_both() {
        let tally = Tally::default();
        assert_eq!(tally.take(), None);
        let networks = ["10.0.0.0/24", "fd00::/56"].map(|text| text.parse().unwrap());
        for network in networks {
            tally.add(network);
        }
        assert_eq!(tally.take(), Some((networks[0], 2)));
        assert_eq!(tally.take(), None);
        assert_eq!(tally.add(networks[1]), 1);
        assert_eq!(tally.take(), Some((networks[1], 1)));
    }
}
