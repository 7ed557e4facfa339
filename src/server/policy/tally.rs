//! How often something has happened, for a line in the log now and then.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use ipnet::IpNet;

/// How often something has happened, and to whom first.
#[derive(Default)]
pub struct Tally {
    count: AtomicU64,
    first: Mutex<Option<IpNet>>,
}

impl Tally {
    /// Counts one; gives the new count.
    pub fn add(&self, network: IpNet) -> u64 {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        // Once between two reports: the others take no lock.
        if before == 0
            && let Ok(mut first) = self.first.lock()
        {
            *first = Some(network);
        }
        before + 1
    }

    /// Begins anew; gives what there was.
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
    fn a_report_has_who_was_first_and_how_many_and_begins_anew() {
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
