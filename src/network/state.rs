//! The state of a network: its peers, with the indexes that decisions need.

use std::{net::IpAddr, sync::Arc};

use imbl::OrdMap;

use super::{
    Hostname, Lease, PeerId, PinRefusal, Role, Rules, Sequence, Time,
    free::FreeNumbers,
    hosts::{HashedLabel, Hosts},
    peer_table::{PeerTable, Slot},
    time_index::TimeIndex,
};

/// The holder of a registration: a client with this source that states this
/// address. Either alone is not enough, since a neighbour can state another's
/// address, and containers behind one node's masquerading share their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The source address of its queries.
    pub source: IpAddr,
    /// The address at which other peers reach it.
    pub address: IpAddr,
}

/// A registered host.
#[derive(Debug)]
pub struct Peer {
    pub host: Hostname,
    pub id: PeerId,
    pub role: Role,
    pub holder: Holder,
    /// The revision of the network at which this holder was registered. It rises
    /// whenever an ID passes to another holder, and never falls: of two processes
    /// with the same ID, the one with the lower epoch has lost it.
    pub epoch: u64,
    /// Shared with every reader of this peer; a heartbeat writes to it.
    pub lease: Lease,
}

/// A registration as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPeer {
    pub host: Hostname,
    pub id: PeerId,
    pub role: Role,
    pub holder: Holder,
    pub epoch: u64,
}

/// A stored registration or pin contradicts the rules or another record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("{host} holds {id}, which is out of the range of its sequence")]
    OutOfRange { host: Hostname, id: String },
    #[error("{id} is held by both {first} and {second}")]
    TwoHolders {
        id: String,
        first: Hostname,
        second: Hostname,
    },
    #[error("{host} is registered twice, the second time as {id}")]
    TwoIds { host: Hostname, id: String },
    #[error("{host} holds {id}, but its role draws from another sequence")]
    OtherSequence { host: Hostname, id: String },
    #[error("{id} cannot be pinned to {host}: {refusal}")]
    Pin {
        host: Hostname,
        id: String,
        refusal: PinRefusal,
    },
}

/// All registered peers of one network.
///
/// The maps are persistent: a clone costs a few reference counts, shares
/// everything that does not change, and never changes itself. So the writer can
/// work on a clone and drop it when the disk fails, readers have a consistent
/// state without a lock, and a zone transfer can take its time.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) rules: Arc<Rules>,
    pub(super) hosts: Hosts,
    /// By host, registered or not.
    pub(super) pins: OrdMap<Hostname, PeerId>,
    /// By [`Sequence`].
    pub(super) sequences: Vec<Numbers>,
    /// Rises with every change of what the network publishes.
    pub(super) revision: u64,
    /// The latest time that was seen: a clock that is set back changes nothing.
    pub(super) now: Time,
    /// Since when the service has heard its peers without a break.
    pub(super) heard_since: Time,
}

/// The numbers of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub taken: PeerTable,
    pub free: FreeNumbers,
    /// The live peers, with the time of their next check, which is never later
    /// than the end of the lease.
    pub live: TimeIndex,
    /// The peers whose lease has ended, with its end.
    pub ended: TimeIndex,
    /// The same for pinned numbers, which are never reclaimed.
    pub ended_pinned: TimeIndex,
    pub pinned: OrdMap<u32, Hostname>,
}

impl Numbers {
    /// Records that a lease has ended.
    pub fn note_ended(&mut self, number: u32, ran_out: Time) {
        if self.pinned.contains_key(&number) {
            self.ended_pinned.insert(number, ran_out);
        } else {
            self.ended.insert(number, ran_out);
        }
    }

    /// Records that a lease runs until the deadline or longer.
    pub fn note_live(&mut self, number: u32, deadline: Time) {
        self.live.insert(number, deadline);
        self.ended.remove(number);
        self.ended_pinned.remove(number);
    }
}

impl Network {
    /// A network without peers. `revision` must be higher than every revision
    /// that was published before.
    pub fn new(rules: Arc<Rules>, revision: u64) -> Self {
        let sequences = rules
            .sequences
            .iter()
            .map(|rule| Numbers {
                taken: PeerTable::default(),
                free: FreeNumbers::from(rule.start),
                live: TimeIndex::default(),
                ended: TimeIndex::default(),
                ended_pinned: TimeIndex::default(),
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

    /// Restores a network: every peer counts as live for one lease from `now`, so
    /// that a peer that starts right after the service does not take itself for
    /// the first.
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

    /// Like [`restore`](Self::restore), but leaves out every record that
    /// contradicts the rules or an earlier record, and returns these conflicts.
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
            network.insert(Peer {
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

    /// Rises with every change of what the network publishes, and never falls.
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

    /// Prepares a label for lookups in this network or a later version of it.
    pub fn hash_label<'n>(&self, label: &'n [u8]) -> HashedLabel<'n> {
        self.hosts.hash_label(label)
    }

    /// The peer with the hash of the label, if the label is in lower case. In
    /// rare cases it is that of another host ([`HashedLabel::matches`]). This
    /// reads nothing of the peer.
    pub fn candidate(&self, label: &HashedLabel<'_>) -> Option<&Arc<Peer>> {
        self.hosts.candidate(label)
    }

    /// The peer whose host has this name, in any case.
    pub fn find(&self, label: &HashedLabel<'_>) -> Option<&Arc<Peer>> {
        self.hosts.find(label)
    }

    pub fn peer(&self, id: PeerId) -> Option<&Arc<Peer>> {
        self.numbers(id.sequence).taken.get(id.number)
    }

    /// The place of an ID. Its summary agrees with [`peer`](Self::peer), and is
    /// faster to read if there are very many peers.
    pub fn slot_of(&self, id: PeerId) -> Option<Slot<'_>> {
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

    /// When [`expire`](Self::expire) has something to do.
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

    /// Tells that the service could not hear its peers until this time: the
    /// leases that have not ended are extended by one lease.
    pub fn resume(&mut self, time: Time) {
        self.heard_since = self.heard_since.max(time);
    }

    /// When the peer's lease ends unless it is renewed. Only silence that the
    /// service was able to hear counts.
    pub(super) fn lease_end(&self, peer: &Peer) -> Time {
        peer.lease.heard().max(self.heard_since) + self.rules.lease
    }

    /// Inserts a peer with a running lease.
    pub(super) fn insert(&mut self, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        let number = peer.id.number;
        let deadline = self.lease_end(&peer);
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.free.remove(number);
        numbers.taken.insert(peer.clone());
        numbers.note_live(number, deadline);
        self.hosts.insert(peer.clone());
        self.revision += 1;
        peer
    }
}
