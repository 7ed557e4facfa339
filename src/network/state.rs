//! The state of a network: its peers, in the orders that decisions need.

use std::sync::Arc;

use imbl::OrdMap;

use super::{
    Conflict, Hostname, Lease, Peer, PeerId, Role, Rules, Sequence, StoredPeer, Time,
    agenda::Agenda,
    by_id::{IdSlot, PeersById},
    free::Free,
    hosts::{HostKey, Hosts},
};

/// All registered peers of one network.
///
/// The maps are persistent: a clone costs a few reference counts, shares all
/// that did not change, and stays as it was. So the one writer can work on a
/// clone and drop it when the disk refuses, readers hold a consistent state
/// without a lock, and a zone transfer can take its time.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) rules: Arc<Rules>,
    pub(super) hosts: Hosts,
    /// Whether they are registered or not.
    pub(super) pins: OrdMap<Hostname, PeerId>,
    /// By [`Sequence`].
    pub(super) sequences: Vec<Numbers>,
    /// Rises with each change of what the network says to anyone.
    pub(super) revision: u64,
    /// The latest time that was seen: a clock set back changes nothing.
    pub(super) now: Time,
    /// Since when the service hears its peers without a break.
    pub(super) heard_since: Time,
}

/// The numbers of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub taken: PeersById,
    pub free: Free,
    /// Who counts as live, and when that must be looked at again: never later
    /// than the end of the lease.
    pub live: Agenda,
    /// Whose lease has ended, and when it ran out.
    pub ended: Agenda,
    /// The same of those that are pinned, and so are never reclaimed.
    pub ended_pinned: Agenda,
    pub pinned: OrdMap<u32, Hostname>,
}

impl Numbers {
    /// Notes that a lease has ended.
    pub fn gone(&mut self, number: u32, ran_out: Time) {
        match self.pinned.contains_key(&number) {
            true => self.ended_pinned.insert(number, ran_out),
            false => self.ended.insert(number, ran_out),
        }
    }

    /// Notes that a lease runs until then, or somewhat longer.
    pub fn lives(&mut self, number: u32, deadline: Time) {
        self.live.insert(number, deadline);
        self.ended.remove(number);
        self.ended_pinned.remove(number);
    }
}

impl Network {
    /// A network without peers. `revision` must be above all that were
    /// published before.
    pub fn new(rules: Arc<Rules>, revision: u64) -> Self {
        let sequences = rules
            .sequences
            .iter()
            .map(|rule| Numbers {
                taken: PeersById::default(),
                free: Free::from(rule.start),
                live: Agenda::default(),
                ended: Agenda::default(),
                ended_pinned: Agenda::default(),
                pinned: OrdMap::new(),
            })
            .collect();
        Self {
            rules,
            hosts: Hosts::default(),
            pins: OrdMap::new(),
            sequences,
            revision,
            now: Time::default(),
            heard_since: Time::default(),
        }
    }

    /// The network as it was registered: every peer counts as live for one
    /// lease from `now`, so that a peer that starts right after the service
    /// does not believe that it is the first.
    pub fn restore(
        rules: Arc<Rules>,
        revision: u64,
        peers: impl IntoIterator<Item = StoredPeer>,
        pins: impl IntoIterator<Item = (Hostname, PeerId)>,
        now: Time,
    ) -> Result<Self, Conflict> {
        let (network, conflicts) = Self::restore_fitting(rules, revision, peers, pins, now);
        match conflicts.into_iter().next() {
            Some(conflict) => Err(conflict),
            None => Ok(network),
        }
    }

    /// The same without what contradicts the rules or what stands before it, and
    /// every such contradiction.
    pub fn restore_fitting(
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
            let StoredPeer {
                host,
                id,
                role,
                holder,
                epoch,
            } = peer;
            latest_epoch = epoch.max(latest_epoch);
            if let Err(conflict) = network.check(&host, id, role) {
                conflicts.push(conflict);
                continue;
            }
            network.insert_peer(Peer {
                host,
                id,
                role,
                holder,
                epoch,
                lease: Lease::granted(now),
            });
        }
        for (host, id) in pins {
            if let Err(refusal) = network.restore_pin(host.clone(), id) {
                let id = network.rules.id_text(id);
                conflicts.push(Conflict::Pin { host, id, refusal });
            }
        }
        network.revision = revision.max(latest_epoch);
        (network, conflicts)
    }

    fn check(&self, host: &Hostname, id: PeerId, role: Role) -> Result<(), Conflict> {
        let text = || self.rules.id_text(id);
        if self.rules.role(role).sequence != id.sequence {
            return Err(Conflict::OtherSequence {
                host: host.clone(),
                id: text(),
            });
        }
        if !self.rules.sequence(id.sequence).contains(id.number) || id.number == u32::MAX {
            return Err(Conflict::OutOfRange {
                host: host.clone(),
                id: text(),
            });
        }
        if let Some(other) = self.peer(id) {
            return Err(Conflict::TwoHolders {
                id: text(),
                first: other.host.clone(),
                second: host.clone(),
            });
        }
        if self.host(host).is_some() {
            return Err(Conflict::TwoIds {
                host: host.clone(),
                id: text(),
            });
        }
        Ok(())
    }

    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Rises with each change of what the network says; never falls.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many peers are registered.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// How many peers are live.
    pub fn live_len(&self) -> usize {
        self.sequences
            .iter()
            .map(|numbers| numbers.live.len())
            .sum()
    }

    pub fn host(&self, host: &Hostname) -> Option<&Arc<Peer>> {
        self.hosts.get(host.as_str())
    }

    /// A label that may be a host's name, made ready to be looked up in this state
    /// of the network or a later one.
    pub fn host_key<'n>(&self, label: &'n [u8]) -> HostKey<'n> {
        self.hosts.host_key(label)
    }

    /// The host that is sought, or seldom another one ([`HostKey::is`] tells), if it
    /// is spelt in lower case; it says so without a look at the peer.
    pub fn likely(&self, sought: &HostKey<'_>) -> Option<&Arc<Peer>> {
        self.hosts.likely(sought)
    }

    /// The host that is sought, in any case.
    pub fn find(&self, sought: &HostKey<'_>) -> Option<&Arc<Peer>> {
        self.hosts.find(sought)
    }

    pub fn peer(&self, id: PeerId) -> Option<&Arc<Peer>> {
        self.numbers(id.sequence).taken.get(id.number)
    }

    /// Where it stands who has that ID. It says the same as [`peer`](Self::peer),
    /// and sooner where there are very many.
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

    /// When [`expire`](Self::expire) has something to look at.
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

    /// The service could not hear its peers until that time, for longer than it
    /// can vouch for: the leases that have not ended yet run one lease on.
    pub fn resume(&mut self, time: Time) {
        self.heard_since = self.heard_since.max(time);
    }

    /// When the peer's lease runs out if it stays silent. Only silence counts
    /// that the service was there to hear.
    pub(super) fn runs_out(&self, peer: &Peer) -> Time {
        peer.lease.heard().max(self.heard_since) + self.rules.lease
    }

    /// Puts a peer with a running lease at its number.
    pub(super) fn insert_peer(&mut self, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        let number = peer.id.number;
        let deadline = self.runs_out(&peer);
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.free.remove(number);
        numbers.taken.insert(peer.clone());
        numbers.lives(number, deadline);
        self.hosts.insert(peer.clone());
        self.revision += 1;
        peer
    }
}
