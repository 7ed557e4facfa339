//! The state of a network: its peers, with the indexes that decisions need.

use std::sync::Arc;

use imbl::OrdMap;

use super::{
    Conflict, Hostname, Lease, Peer, PeerId, Rules, Sequence, StoredPeer, Time,
    agenda::Agenda,
    by_id::{IdSlot, PeersById},
    free::FreeNumbers,
    hosts::{HostKey, Hosts},
};

/// All registered peers of one network.
///
/// The maps are persistent: a clone costs a few reference counts, shares everything
/// unchanged, and is not affected by later changes. So the one writer can work on a
/// clone and drop it when a write fails, readers hold a consistent state without a
/// lock, and a zone transfer can take its time.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) rules: Arc<Rules>,
    pub(super) hosts: Hosts,
    /// The pinned IDs of hosts, registered or not.
    pub(super) pins: OrdMap<Hostname, PeerId>,
    /// The released hosts whose IDs may not be assigned yet.
    pub(super) withheld: OrdMap<Hostname, PeerId>,
    /// Indexed by [`Sequence`].
    pub(super) sequences: Vec<Numbers>,
    /// Rises with each change that an answer can show.
    pub(super) revision: u64,
    /// The latest time seen so far: a clock that is set back has no effect.
    pub(super) now: Time,
    /// The time until which the service knows of all heartbeats: the present, unless
    /// replicas of the service have yet to report what they heard.
    pub(super) heard_until: Time,
    /// The time since which the service has heard its peers without a break.
    pub(super) heard_since: Time,
}

/// The numbers of one sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub taken: PeersById,
    pub free: FreeNumbers,
    /// The live peers, and the deadline at which each lease must be checked: never
    /// later than its end.
    pub live: Agenda,
    /// The peers whose lease has ended, and the time at which it expired.
    pub ended: Agenda,
    /// The same for pinned numbers, which are never reclaimed.
    pub ended_pinned: Agenda,
    pub pinned: OrdMap<u32, Hostname>,
    pub withheld: OrdMap<u32, Hostname>,
}

impl Numbers {
    /// Makes a number free, unless it is kept for a host.
    pub fn set_free(&mut self, number: u32) {
        let is_kept = self.taken.contains(number)
            || self.pinned.contains_key(&number)
            || self.withheld.contains_key(&number);
        if !is_kept {
            self.free.insert(number);
        }
    }

    /// Records the end of a lease.
    pub fn insert_ended(&mut self, number: u32, expired_at: Time) {
        if self.pinned.contains_key(&number) {
            self.ended_pinned.insert(number, expired_at);
        } else {
            self.ended.insert(number, expired_at);
        }
    }

    /// Records that a lease is running until the deadline or longer.
    pub fn insert_live(&mut self, number: u32, deadline: Time) {
        self.live.insert(number, deadline);
        self.ended.remove(number);
        self.ended_pinned.remove(number);
    }
}

impl Network {
    /// A network without peers. `revision` must be higher than all that were published
    /// before.
    pub fn new(rules: Arc<Rules>, revision: u64) -> Self {
        let sequences = rules
            .sequences
            .iter()
            .map(|rule| Numbers {
                free: FreeNumbers::from(rule.start),
                ..Numbers::default()
            })
            .collect();
        Self {
            rules,
            hosts: Hosts::default(),
            pins: OrdMap::new(),
            withheld: OrdMap::new(),
            sequences,
            revision,
            now: Time::default(),
            heard_until: Time(u64::MAX),
            heard_since: Time::default(),
        }
    }

    /// Restores a network from stored registrations and pins. Every peer counts as live
    /// for one lease from `now`, so that a peer that starts right after the service does
    /// not believe that it is the first.
    ///
    /// Omits registrations and pins that contradict the rules or an earlier one, and
    /// returns all these conflicts.
    pub fn restore(
        rules: Arc<Rules>,
        revision: u64,
        peers: impl IntoIterator<Item = StoredPeer>,
        pins: impl IntoIterator<Item = (Hostname, PeerId)>,
        now: Time,
    ) -> (Self, Vec<Conflict>) {
        let mut network = Self::new(rules, revision);
        network.now = now;
        let mut conflicts = Vec::new();
        let mut latest_epoch = 0;
        for peer in peers {
            latest_epoch = peer.epoch.max(latest_epoch);
            match network.check(&peer) {
                Ok(()) => drop(network.insert_peer(peer.with_lease(Lease::granted(now)))),
                Err(conflict) => conflicts.push(conflict),
            }
        }
        for (host, id) in pins {
            match network.check_pin(&host, id) {
                Ok(()) => network.insert_pin(host, id),
                Err(refusal) => conflicts.push(network.pin_conflict(host, id, refusal)),
            }
        }
        network.revision = revision.max(latest_epoch);
        (network, conflicts)
    }

    /// Whether a stored peer fits the rules and the other peers.
    pub(super) fn check(&self, peer: &StoredPeer) -> Result<(), Conflict> {
        let host = peer.host.clone();
        let id = self.rules.id_text(peer.id);
        if self.rules.role(peer.role).sequence != peer.id.sequence {
            return Err(Conflict::OtherSequence { host, id });
        }
        if !self.rules.contains(peer.id) {
            return Err(Conflict::OutOfRange { host, id });
        }
        if let Some(other) = self.peer(peer.id) {
            return Err(Conflict::TwoHolders {
                id,
                first: other.host.clone(),
                second: host,
            });
        }
        if self.host(&host).is_some() {
            return Err(Conflict::TwoIds { host, id });
        }
        Ok(())
    }

    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Rises with each change that an answer can show; never falls.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of registered peers.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The number of live peers.
    pub fn live_len(&self) -> usize {
        self.sequences
            .iter()
            .map(|numbers| numbers.live.len())
            .sum()
    }

    pub fn host(&self, host: &Hostname) -> Option<&Arc<Peer>> {
        self.hosts.get(host.as_str())
    }

    /// Prepares a label that may be a host name for lookups in this state of the network
    /// or a later one.
    pub fn host_key<'n>(&self, label: &'n [u8]) -> HostKey<'n> {
        self.hosts.host_key(label)
    }

    /// The peer of the key's host, or in rare cases another one with the same hash
    /// ([`HostKey::matches`] distinguishes them); `None` if the label is not in lower
    /// case. Reads nothing of the peer itself.
    pub fn find_by_hash(&self, key: &HostKey<'_>) -> Option<&Arc<Peer>> {
        self.hosts.find_by_hash(key)
    }

    /// The peer of the key's host; the label may be in any case.
    pub fn find(&self, key: &HostKey<'_>) -> Option<&Arc<Peer>> {
        self.hosts.find(key)
    }

    pub fn peer(&self, id: PeerId) -> Option<&Arc<Peer>> {
        self.numbers(id.sequence).taken.get(id.number)
    }

    /// The slot of an ID. It has the public data of [`peer`](Self::peer), and reading it
    /// is faster if there are very many peers.
    pub fn id_slot(&self, id: PeerId) -> Option<IdSlot<'_>> {
        self.numbers(id.sequence).taken.slot(id)
    }

    /// Whether the peer counts as live.
    pub fn is_live(&self, id: PeerId) -> bool {
        self.numbers(id.sequence).live.contains(id.number)
    }

    /// All peers, by sequence and number.
    pub fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.sequences
            .iter()
            .flat_map(|numbers| numbers.taken.iter())
    }

    /// All live peers, by sequence and number.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.sequences.iter().flat_map(|numbers| {
            numbers
                .live
                .numbers()
                .filter_map(|number| numbers.taken.get(number))
        })
    }

    /// The earliest deadline at which [`expire`](Self::expire) has a lease to check.
    pub fn next_deadline(&self) -> Option<Time> {
        self.sequences
            .iter()
            .filter_map(|numbers| numbers.live.first())
            .map(|(time, _)| time)
            .min()
    }

    pub(super) fn numbers(&self, sequence: Sequence) -> &Numbers {
        &self.sequences[usize::from(sequence.0)]
    }

    pub(super) fn numbers_mut(&mut self, sequence: Sequence) -> &mut Numbers {
        &mut self.sequences[usize::from(sequence.0)]
    }

    /// Records that the service could not hear its peers until this time: every lease
    /// that has not ended is extended by one lease from it.
    pub fn resume(&mut self, time: Time) {
        self.heard_since = self.heard_since.max(time);
    }

    /// Records until when all heartbeats are known. No lease ends that was running then.
    pub fn set_heard_until(&mut self, time: Time) {
        self.heard_until = time;
    }

    /// The time as of which leases end.
    pub(super) fn expiry_time(&self) -> Time {
        self.now.min(self.heard_until)
    }

    /// The time at which the lease expires if the peer stays silent. Silence before
    /// `heard_since` does not count, since the service could not hear the peer.
    pub(super) fn expiry(&self, peer: &Peer) -> Time {
        peer.lease.last_heard().max(self.heard_since) + self.rules.lease
    }

    /// Inserts a peer with a running lease.
    pub(super) fn insert_peer(&mut self, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        let number = peer.id.number;
        let deadline = self.expiry(&peer);
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.free.remove(number);
        numbers.taken.insert(peer.clone());
        numbers.insert_live(number, deadline);
        self.hosts.insert(peer.clone());
        self.revision += 1;
        peer
    }
}
