//! Hosts that were released, or have left, and that nobody may have yet.
//!
//! Replicas of the service learn of a release a little later than the writer, and answer
//! the host until then. Until all of them know, the host gets no other ID and no other
//! holder, and the ID goes to no other host. The same holds for a host whose holder has
//! left. A lease that expires needs no such care: no replica can have renewed it.

use super::{Hostname, Network, PeerId, Sequence};

impl Network {
    /// Withholds the host and its ID, after its release, or after its holder has left.
    pub fn withhold(&mut self, host: Hostname, id: PeerId) {
        self.numbers_mut(id.sequence).free.remove(id.number);
        self.withheld.entry(host).or_default().push(id);
    }

    pub fn is_withheld(&self, host: &Hostname) -> bool {
        self.withheld.contains_key(host)
    }

    /// The hosts that are withheld.
    pub fn withheld(&self) -> impl Iterator<Item = &Hostname> {
        self.withheld.keys()
    }

    /// The hosts that had an ID before and have none now, where the ID is free, and those
    /// whose lease has ended.
    pub fn lost_since(&self, before: &Self) -> Vec<(Hostname, PeerId)> {
        let pairs = self.sequences.iter().zip(&before.sequences).enumerate();
        let ids = pairs.flat_map(|(place, (now, before))| {
            let numbers = now.taken.differences(&before.taken).into_iter();
            let sequence = Sequence(place as u16);
            numbers.map(move |number| PeerId { sequence, number })
        });
        let ended = self.liveness_changes(before).into_iter();
        let ended = ended.filter(|id| before.is_live(*id));
        let gone = ids
            .chain(ended)
            .filter_map(|id| Some((before.peer(id)?.host.clone(), id)));
        let is_lost = |host: &Hostname| {
            let peer = self.host(host);
            peer.is_none_or(|peer| !self.is_live(peer.id))
        };
        gone.filter(|(host, _)| is_lost(host)).collect()
    }

    /// Ends that.
    pub fn stop_withholding(&mut self, host: &Hostname) {
        for id in self.withheld.remove(host).unwrap_or_default() {
            let numbers = self.numbers_mut(id.sequence);
            let is_free =
                !numbers.taken.contains(id.number) && !numbers.pinned.contains_key(&id.number);
            if is_free {
                numbers.free.insert(id.number);
            }
        }
    }
}
