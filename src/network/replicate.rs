//! A network that follows another: a replica of the service takes over what the writer
//! has decided and stored, and decides nothing itself.
//!
//! The writer ends leases, so a replica must never renew one that the writer may have
//! ended. It therefore knows of each lease only a time at which the holder was heard for
//! certain, which is never later than the time that the writer knows. A lease without
//! such a time cannot be renewed here.

use std::{ops::Range, sync::Arc};

use super::{
    Conflict, Hostname, Lease, Network, Peer, PeerId, Sequence, StoredPeer, Time, agenda::Agenda,
    state::Numbers,
};

/// What the writer has stored of one ID or one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replicated {
    /// The holder of an ID; `None` if no host has it any more.
    Holder(PeerId, Option<StoredPeer>),
    /// The lease of the ID's holder is running.
    Live(PeerId),
    /// It has ended.
    Ended(PeerId),
    /// It has ended; if it had before, it has run in between.
    EndedAgain(PeerId),
    /// The ID that is pinned to a host.
    Pin(Hostname, Option<PeerId>),
    /// The host with which an ID is withheld.
    Withheld(PeerId, Option<Hostname>),
}

impl Replicated {
    /// Changes are applied in this order, so that whatever passes from one host to
    /// another is taken from the first one before.
    fn rank(&self) -> u8 {
        match self {
            Self::Holder(_, None) | Self::Pin(_, None) => 0,
            Self::Holder(_, Some(_)) => 1,
            Self::Pin(_, Some(_)) => 2,
            Self::Live(_) | Self::Ended(_) | Self::EndedAgain(_) | Self::Withheld(..) => 3,
        }
    }
}

impl Network {
    /// Takes over what was stored by the writer, whose network has this revision.
    ///
    /// Omits what contradicts the rules of this network, and returns these conflicts: the
    /// zone files of the replicas differ.
    pub fn replicate(
        &mut self,
        mut changes: Vec<Replicated>,
        revision: u64,
        now: Time,
    ) -> Vec<Conflict> {
        self.now = self.now.max(now);
        changes.sort_by_key(Replicated::rank);
        let mut conflicts = Vec::new();
        let mut latest_epoch = 0;
        for change in changes {
            match change {
                Replicated::Holder(id, None) => self.remove_holder(id),
                Replicated::Holder(_, Some(peer)) => {
                    latest_epoch = peer.epoch.max(latest_epoch);
                    conflicts.extend(self.replace_holder(peer).err());
                }
                Replicated::Pin(host, None) => {
                    self.unpin(&host, &mut Vec::new());
                }
                Replicated::Pin(host, Some(id)) => {
                    if self.pinned(&host).is_some_and(|pinned| pinned != id) {
                        self.unpin(&host, &mut Vec::new());
                    }
                    if let Err(refusal) = self.pin(&host, id, &mut Vec::new()) {
                        conflicts.push(self.pin_conflict(host, id, refusal));
                    }
                }
                Replicated::Withheld(id, host) => {
                    if let Some(before) = self.withheld_with(id).cloned() {
                        self.stop_withholding(&before);
                    }
                    if let Some(host) = host {
                        self.withhold(host, id);
                    }
                }
                Replicated::Live(id) => self.set_live(id),
                Replicated::Ended(id) if !self.is_live(id) => {}
                Replicated::Ended(id) | Replicated::EndedAgain(id) => self.set_ended(id),
            }
        }
        self.revision = self.revision.max(revision).max(latest_epoch);
        conflicts
    }

    fn remove_holder(&mut self, id: PeerId) {
        if let Some(peer) = self.peer(id).cloned() {
            peer.lease.end();
            self.remove(&peer);
        }
    }

    fn replace_holder(&mut self, stored: StoredPeer) -> Result<(), Conflict> {
        if self
            .peer(stored.id)
            .is_some_and(|peer| stored.is_that_of(peer))
        {
            return Ok(());
        }
        self.remove_holder(stored.id);
        if let Some(elsewhere) = self.host(&stored.host).cloned() {
            // A commit that moves a host may be stored in part: the later registration
            // counts.
            if elsewhere.epoch > stored.epoch {
                return Ok(());
            }
            self.remove_holder(elsewhere.id);
        }
        self.check(&stored)?;
        self.insert_peer(stored.with_lease(Lease::unheard()));
        Ok(())
    }

    fn set_live(&mut self, id: PeerId) {
        let deadline = self.now + self.rules.lease;
        let numbers = self.numbers_mut(id.sequence);
        if numbers.taken.contains(id.number) && !numbers.live.contains(id.number) {
            numbers.insert_live(id.number, deadline);
        }
    }

    fn set_ended(&mut self, id: PeerId) {
        let Some(peer) = self.peer(id).cloned() else {
            return;
        };
        peer.lease.end();
        let now = self.now;
        let numbers = self.numbers_mut(id.sequence);
        numbers.live.remove(id.number);
        numbers.insert_ended(id.number, now);
    }

    /// Notes that the holder of an ID, if it is live, was heard at this time or later.
    pub fn hear(&self, id: PeerId, time: Time) {
        if let Some(peer) = self.peer(id).filter(|_| self.is_live(id)) {
            peer.lease.hear(time);
        }
    }

    /// Renews the lease of an ID's holder, which another replica has renewed.
    pub fn renew_reported(&self, id: PeerId, now: Time) {
        if let Some(peer) = self.peer(id) {
            peer.lease.renew_reported(now);
        }
    }

    /// The live peers that this service heard at this time or later.
    pub fn heard_here(&self, since: Time) -> impl Iterator<Item = PeerId> {
        let is_heard = move |peer: &&Arc<Peer>| peer.lease.was_heard_here(since);
        self.live().filter(is_heard).map(|peer| peer.id)
    }

    /// The live peers that were heard at this time or later, by any replica, and when.
    pub fn heard_anywhere(&self, since: Time) -> impl Iterator<Item = (PeerId, Time)> {
        let heard = self.live().map(|peer| (peer.id, peer.lease.last_heard()));
        heard.filter(move |(_, heard)| *heard >= since)
    }

    /// Makes the revision higher than this one, which may be known elsewhere.
    pub fn skip_revisions(&mut self, revision: u64) {
        if revision >= self.revision && revision > 0 {
            self.revision = revision + 1;
        }
    }

    /// Prepares the network of a replica that has become the writer: every lease that
    /// has not ended runs for one lease from now, since the replica may not know when
    /// its holder was heard last. The revision is a new one: the writer before may have
    /// stored a part of a commit.
    pub fn lead(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.revision += 1;
        self.resume(self.now);
        for peer in self.live() {
            peer.lease.hear(self.now);
        }
    }

    /// The IDs whose holders are live in only one of the two states.
    pub fn liveness_changes(&self, before: &Self) -> Vec<PeerId> {
        self.differences(before, |now, before| now.live.differences(&before.live))
    }

    /// The IDs of the numbers in which the sequences of two states differ.
    pub(super) fn differences(
        &self,
        before: &Self,
        numbers: impl Fn(&Numbers, &Numbers) -> Vec<u32>,
    ) -> Vec<PeerId> {
        let pairs = self.sequences.iter().zip(&before.sequences).enumerate();
        let changes = pairs.flat_map(|(place, (now, before))| {
            let sequence = Sequence(place as u16);
            let numbers = numbers(now, before).into_iter();
            numbers.map(move |number| PeerId { sequence, number })
        });
        changes.collect()
    }

    /// The numbers from `numbers` whose holders are registered and not live, and when their
    /// leases expired.
    pub fn ended_in(&self, sequence: Sequence, numbers: Range<u32>) -> Vec<(u32, Time)> {
        let of = self.numbers(sequence);
        let expired_at = |number| of.ended.get(number).or_else(|| of.ended_pinned.get(number));
        numbers
            .filter(|number| of.taken.contains(*number) && !of.live.contains(*number))
            .map(|number| (number, expired_at(number).unwrap_or_default()))
            .collect()
    }

    /// The IDs of the live peers from which root nodes are chosen.
    pub fn root_candidates(&self) -> Vec<PeerId> {
        self.candidates().map(|peer| peer.id).collect()
    }

    /// This state with other candidates for root nodes: those that the writer had when
    /// it decided about a peer. Their order is that of their numbers.
    #[must_use]
    pub fn with_root_candidates(&self, ids: &[PeerId]) -> Self {
        let mut then = self.clone();
        let deadline = then.now + then.rules.lease;
        let numbers = then.numbers_mut(self.rules.root_sequence);
        numbers.live = Agenda::default();
        for id in ids
            .iter()
            .filter(|id| id.sequence == self.rules.root_sequence)
        {
            if numbers.taken.contains(id.number) {
                numbers.live.insert(id.number, deadline);
            }
        }
        then
    }
}
