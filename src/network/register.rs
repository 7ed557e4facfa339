//! The decisions: registration, renewal, takeover, reclaiming, leaving, release,
//! and the expiry of leases.

use std::sync::Arc;

use super::{Holder, Hostname, Lease, Network, Peer, PeerId, Role, Sequence, Time};

/// How many leases are checked before a decision. This nearly always covers all
/// that may have expired.
const CHECKS_PER_DECISION: usize = 64;

/// A change that must be durable before anyone learns of it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The host has this registration.
    Put(Arc<Peer>),
    /// The host no longer has that number.
    Delete(Hostname, PeerId),
    /// The number is pinned to the host.
    Pin(Hostname, PeerId),
    /// The host has no pin any more.
    Unpin(Hostname),
}

impl Change {
    /// The host that changes.
    pub fn host(&self) -> &Hostname {
        match self {
            Self::Put(peer) => &peer.host,
            Self::Delete(host, _) | Self::Pin(host, _) | Self::Unpin(host) => host,
        }
    }

    /// The number that is assigned or withdrawn.
    pub fn id(&self) -> Option<PeerId> {
        match self {
            Self::Put(peer) => Some(peer.id),
            Self::Delete(_, id) => Some(*id),
            Self::Pin(..) | Self::Unpin(_) => None,
        }
    }
}

/// Why a registration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The host registered with another role.
    OtherRole(Role),
    /// No root node is live, and a peer of this role must not be the first.
    NoRoot(Role),
    /// The host is pinned to this ID, which no peer of the role can have.
    Pinned(PeerId),
    /// Every number of the sequence is assigned, and none may be reclaimed yet.
    Full { sequence: Sequence, limit: u32 },
}

/// Why a lease does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveRefusal {
    /// No such host is registered.
    Unknown,
    /// The lease belongs to another holder.
    NotTheHolder,
}

impl Network {
    /// Registers a host or renews its lease.
    ///
    /// Returns the peer as it is afterwards. [`Peer::holder`] tells whether that
    /// is the client: while the lease of another holder is running, the peer is
    /// returned unchanged. `role` is `None` if the client states none. Changes
    /// that must become durable are added to `changes`.
    pub fn register(
        &mut self,
        now: Time,
        host: &Hostname,
        role: Option<Role>,
        asker: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        self.advance(now, host);
        match self.hosts.get(host.as_str()).cloned() {
            Some(peer) => self.register_known(peer, role, asker, changes),
            None => self.register_new(host, role, asker, changes),
        }
    }

    /// The host is registered.
    fn register_known(
        &mut self,
        peer: Arc<Peer>,
        role: Option<Role>,
        asker: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        if role.is_some_and(|role| role != peer.role) {
            return Err(Refusal::OtherRole(peer.role));
        }
        let now = self.now;
        let is_holder = peer.holder == asker;
        if self.is_live(peer.id) {
            // A change that could not be made durable was undone, but had ended
            // the lease: grant it again.
            if is_holder && !peer.lease.renew(now, self.rules.lease) {
                peer.lease.grant(now);
            }
            return Ok(peer);
        }
        if !self.finds_root(peer.id.sequence, asker.address) {
            return Err(Refusal::NoRoot(peer.role));
        }
        // The lease has ended: the client becomes the holder, with the same ID.
        if is_holder {
            peer.lease.grant(now);
            let deadline = now + self.rules.lease;
            let numbers = self.numbers_mut(peer.id.sequence);
            numbers.note_live(peer.id.number, deadline);
            self.revision += 1;
            return Ok(peer);
        }
        let peer = self.insert(Peer {
            host: peer.host.clone(),
            id: peer.id,
            role: peer.role,
            holder: asker,
            epoch: self.revision + 1,
            lease: Lease::granted(now),
        });
        changes.push(Change::Put(peer.clone()));
        Ok(peer)
    }

    /// The host is not registered: it gets the lowest free number, or else that
    /// of the peer that has been gone longest.
    fn register_new(
        &mut self,
        host: &Hostname,
        role: Option<Role>,
        asker: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        let pinned = self.pinned(host);
        let role = role.or_else(|| self.role_for(pinned?));
        let role = role.unwrap_or(self.rules.default_role);
        let sequence = self.rules.role(role).sequence;
        if !self.finds_root(sequence, asker.address) {
            return Err(Refusal::NoRoot(role));
        }
        let id = match pinned {
            Some(id) if id.sequence == sequence => id,
            Some(id) => return Err(Refusal::Pinned(id)),
            None => {
                let number = self.number_for_new(sequence, changes)?;
                PeerId { sequence, number }
            }
        };
        let peer = self.insert(Peer {
            host: host.clone(),
            id,
            role,
            holder: asker,
            epoch: self.revision + 1,
            lease: Lease::granted(self.now),
        });
        changes.push(Change::Put(peer.clone()));
        Ok(peer)
    }

    /// The lowest free number, or else that of the peer that has been gone
    /// longest.
    fn number_for_new(
        &mut self,
        sequence: Sequence,
        changes: &mut Vec<Change>,
    ) -> Result<u32, Refusal> {
        if let Some(number) = self.free_number(sequence) {
            return Ok(number);
        }
        let gone = self.reclaimable(sequence)?;
        self.remove(&gone);
        changes.push(Change::Delete(gone.host.clone(), gone.id));
        Ok(gone.id.number)
    }

    fn free_number(&self, sequence: Sequence) -> Option<u32> {
        let number = self.numbers(sequence).free.lowest()?;
        self.rules
            .sequence(sequence)
            .contains(number)
            .then_some(number)
    }

    /// The peer whose lease ended longest ago, if `reclaim` has passed since.
    fn reclaimable(&self, sequence: Sequence) -> Result<Arc<Peer>, Refusal> {
        let numbers = self.numbers(sequence);
        let longest_gone = numbers.ended.first().zip(self.rules.reclaim);
        let reclaimable = longest_gone
            .filter(|((ran_out, _), reclaim)| self.now >= *ran_out + *reclaim)
            .and_then(|((_, number), _)| numbers.taken.get(number));
        reclaimable.cloned().ok_or_else(|| Refusal::Full {
            sequence,
            limit: self.rules.sequence(sequence).limit,
        })
    }

    /// Ends the lease of its holder. The host keeps its number.
    pub fn leave(
        &mut self,
        now: Time,
        host: &Hostname,
        asker: Holder,
    ) -> Result<Arc<Peer>, LeaveRefusal> {
        self.advance(now, host);
        let peer = self
            .hosts
            .get(host.as_str())
            .ok_or(LeaveRefusal::Unknown)?
            .clone();
        if peer.holder != asker {
            return Err(LeaveRefusal::NotTheHolder);
        }
        peer.lease.end();
        let now = self.now;
        let numbers = self.numbers_mut(peer.id.sequence);
        if numbers.live.remove(peer.id.number).is_some() {
            numbers.note_ended(peer.id.number, now);
            self.revision += 1;
        }
        Ok(peer)
    }

    /// Frees the host's number, pinned or not. Returns whether it had one.
    pub fn release(&mut self, host: &Hostname, changes: &mut Vec<Change>) -> bool {
        let was_pinned = self.unpin(host, changes);
        let Some(peer) = self.hosts.get(host.as_str()).cloned() else {
            return was_pinned;
        };
        self.remove(&peer);
        self.revision += 1;
        changes.push(Change::Delete(host.clone(), peer.id));
        true
    }

    /// Ends the leases that have expired by `now`. Checks at most `most` leases,
    /// so that no call takes long; if more may have expired, as happens one lease
    /// after a start, [`next_deadline`](Self::next_deadline) is in the past.
    ///
    /// A heartbeat only stores a time in the lease, so a lease whose deadline has
    /// come may have been renewed since. Its deadline is then moved to when it
    /// would expire next. Each check is logarithmic in the number of peers, and
    /// each live peer is checked once per lease.
    pub fn expire(&mut self, now: Time, most: usize) {
        self.now = self.now.max(now);
        let mut left = most;
        for place in 0..self.sequences.len() {
            while left > 0
                && let Some((deadline, number)) = self.sequences[place].live.first()
                && deadline <= self.now
            {
                self.check_lease(place, number);
                left -= 1;
            }
        }
    }

    /// Ends the lease of a live peer if it has expired, or else moves its
    /// deadline.
    fn check_lease(&mut self, place: usize, number: u32) {
        let Some(peer) = self.sequences[place].taken.get(number).cloned() else {
            self.sequences[place].live.remove(number);
            return;
        };
        let ended = peer
            .lease
            .expire(self.now, self.rules.lease, self.heard_since);
        let lease_end = self.lease_end(&peer);
        let numbers = &mut self.sequences[place];
        if ended {
            numbers.live.remove(number);
            numbers.note_ended(number, lease_end);
            self.revision += 1;
        } else {
            numbers.live.insert(number, lease_end);
        }
    }

    /// Advances the time before a decision about a host. Its own lease is always
    /// checked, and some of the others.
    fn advance(&mut self, now: Time, host: &Hostname) {
        self.expire(now, CHECKS_PER_DECISION);
        let id = self.hosts.get(host.as_str()).map(|peer| peer.id);
        if let Some(id) = id.filter(|id| self.is_live(*id)) {
            self.check_lease(usize::from(id.sequence.0), id.number);
        }
    }

    /// Removes a peer from every map, and frees its number.
    fn remove(&mut self, peer: &Peer) {
        peer.lease.end();
        self.hosts.remove(&peer.host);
        let number = peer.id.number;
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.live.remove(number);
        numbers.ended.remove(number);
        numbers.ended_pinned.remove(number);
        numbers.taken.remove(number);
        numbers.free.insert(number);
    }
}
