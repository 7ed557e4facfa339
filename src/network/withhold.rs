//! Hosts that were released, or have left, and that nobody may have yet.
//!
//! Replicas of the service learn of a release a little later than the writer, and answer
//! the host until then. Until all of them know, the host gets no other ID and no other
//! holder, and the ID goes to no other host. The same holds for a host whose holder has
//! left. A lease that expires needs no such care: no replica can have renewed it. What is
//! withheld is stored, so that the next writer knows it.

use std::ops::Range;

use imbl::ordmap::DiffItem;

use super::{Hostname, Network, PeerId, Sequence};

impl Network {
    /// Withholds the host and its ID, after its release, or after its holder has left.
    pub fn withhold(&mut self, host: Hostname, id: PeerId) {
        self.stop_withholding(&host);
        let numbers = self.numbers_mut(id.sequence);
        numbers.free.remove(id.number);
        numbers.withheld.insert(id.number, host.clone());
        self.withheld.insert(host, id);
    }

    /// Ends that.
    pub fn stop_withholding(&mut self, host: &Hostname) {
        if let Some(id) = self.withheld.remove(host) {
            let numbers = self.numbers_mut(id.sequence);
            numbers.withheld.remove(&id.number);
            numbers.set_free(id.number);
        }
    }

    /// Whether nobody may register as this host: it is withheld, or the ID that is pinned
    /// to it is.
    pub fn is_withheld(&self, host: &Hostname) -> bool {
        let is_id_withheld = |id| self.withheld_with(id).is_some();
        self.withheld.contains_key(host) || self.pinned(host).is_some_and(is_id_withheld)
    }

    /// The hosts that are withheld.
    pub fn withheld(&self) -> impl Iterator<Item = &Hostname> {
        self.withheld.keys()
    }

    /// The host with which this ID is withheld.
    pub fn withheld_with(&self, id: PeerId) -> Option<&Hostname> {
        self.numbers(id.sequence).withheld.get(&id.number)
    }

    /// The numbers from `numbers` that are withheld, and the hosts with which they are.
    pub fn withheld_in(
        &self,
        sequence: Sequence,
        numbers: Range<u32>,
    ) -> impl Iterator<Item = (u32, &Hostname)> {
        let withheld = self.numbers(sequence).withheld.range(numbers);
        withheld.map(|(number, host)| (*number, host))
    }

    /// The IDs that the two states do not withhold alike.
    pub fn withheld_changes(&self, before: &Self) -> Vec<PeerId> {
        self.differences(before, |now, before| {
            let differences = before.withheld.diff(&now.withheld);
            let numbers = differences.map(|difference| match difference {
                DiffItem::Add(number, _) | DiffItem::Remove(number, _) => *number,
                DiffItem::Update { new, .. } => *new.0,
            });
            numbers.collect()
        })
    }
}
