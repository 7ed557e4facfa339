//! Released IDs that may not be assigned yet.
//!
//! Replicas of the service learn of a release a little later than the writer, and answer
//! the host until then. Until all of them know, the host gets no other ID, and the ID goes
//! to no other host.

use super::{Hostname, Network, PeerId, Sequence};

impl Network {
    /// Withholds the ID and the host, after the release of the host.
    pub fn withhold(&mut self, host: Hostname, id: PeerId) {
        self.numbers_mut(id.sequence).free.remove(id.number);
        self.withheld.insert(host, id);
    }

    pub fn is_withheld(&self, host: &Hostname) -> bool {
        self.withheld.contains_key(host)
    }

    /// The hosts that are withheld.
    pub fn withheld(&self) -> impl Iterator<Item = &Hostname> {
        self.withheld.keys()
    }

    /// The hosts that had an ID before and have none now, where the ID is free.
    pub fn released_since(&self, before: &Self) -> Vec<(Hostname, PeerId)> {
        let pairs = self.sequences.iter().zip(&before.sequences).enumerate();
        let ids = pairs.flat_map(|(place, (now, before))| {
            let numbers = now.taken.differences(&before.taken).into_iter();
            let sequence = Sequence(place as u16);
            numbers.map(move |number| PeerId { sequence, number })
        });
        let gone = ids.filter_map(|id| Some((before.peer(id)?.host.clone(), id)));
        gone.filter(|(host, _)| self.host(host).is_none()).collect()
    }

    /// Ends that.
    pub fn stop_withholding(&mut self, host: &Hostname) {
        let Some(id) = self.withheld.remove(host) else {
            return;
        };
        let numbers = self.numbers_mut(id.sequence);
        let is_free =
            !numbers.taken.contains(id.number) && !numbers.pinned.contains_key(&id.number);
        if is_free {
            numbers.free.insert(id.number);
        }
    }
}
