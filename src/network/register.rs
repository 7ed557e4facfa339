//! The decisions: to register, renew, take over, reclaim, leave and release, and to
//! expire a lease.

use std::sync::Arc;

use super::{Change, Holder, Hostname, Lease, Network, Peer, PeerId, Role, Sequence, Time};

/// The number of leases that a decision checks at most. These are nearly always all
/// that may have expired.
const MAX_CHECKS: usize = 64;

/// Why a host is not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The host registered with another role.
    OtherRole(Role),
    /// No root node is live, and a peer of this role cannot be the first.
    NoRoot(Role),
    /// This ID is pinned to the host, and is not in the sequence of the role.
    Pinned(PeerId),
    /// Every number of the sequence is assigned, and none can be reclaimed yet.
    Full { sequence: Sequence, limit: u32 },
}

/// Why a host cannot leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveRefusal {
    /// The host is not registered.
    Unknown,
    /// Another client holds the lease.
    NotTheHolder,
}

impl Network {
    /// Registers a host, or renews its lease.
    ///
    /// Returns the registered peer. The client is its holder only if [`Peer::holder`]
    /// is equal to it: while the lease of another holder is running, that peer is
    /// returned unchanged. `role` is `None` if the client states none. Whatever must
    /// become durable is appended to `changes`.
    pub fn register(
        &mut self,
        now: Time,
        host: &Hostname,
        role: Option<Role>,
        client: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        self.advance(now, host);
        match self.hosts.get(host.as_str()).cloned() {
            Some(peer) => self.register_known(peer, role, client, changes),
            None => self.register_new(host, role, client, changes),
        }
    }

    /// Renews the registration of a host, or passes it to the client.
    fn register_known(
        &mut self,
        peer: Arc<Peer>,
        role: Option<Role>,
        client: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        if role.is_some_and(|role| role != peer.role) {
            return Err(Refusal::OtherRole(peer.role));
        }
        let now = self.now;
        let is_holder = peer.holder == client;
        if self.is_live(peer.id) {
            // If the lease was ended by a change that was undone because it could not
            // be made durable, it is granted again.
            if is_holder && !peer.lease.renew(now, self.rules.lease) {
                peer.lease.grant(now);
            }
            return Ok(peer);
        }
        if !self.may_start(peer.id.sequence, client.address) {
            return Err(Refusal::NoRoot(peer.role));
        }
        // The lease has ended: the client becomes the holder, with the same ID. The lease is
        // a new one, also for the same holder: the old one is shared by the states of the
        // network that remain if this one is not stored.
        let epoch = if is_holder {
            peer.epoch
        } else {
            self.revision + 1
        };
        let peer = self.insert_peer(Peer {
            host: peer.host.clone(),
            id: peer.id,
            role: peer.role,
            holder: client,
            epoch,
            lease: Lease::granted(now),
        });
        if !is_holder {
            changes.push(Change::Put(peer.clone()));
        }
        Ok(peer)
    }

    /// Registers a new host, with its pinned ID or a newly assigned one.
    fn register_new(
        &mut self,
        host: &Hostname,
        role: Option<Role>,
        client: Holder,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Peer>, Refusal> {
        let pinned = self.pinned(host);
        let role = role.or_else(|| self.role_for(pinned?));
        let role = role.unwrap_or(self.rules.default_role);
        let sequence = self.rules.role(role).sequence;
        if !self.may_start(sequence, client.address) {
            return Err(Refusal::NoRoot(role));
        }
        let id = match pinned {
            Some(id) if id.sequence == sequence => id,
            Some(id) => return Err(Refusal::Pinned(id)),
            None => {
                let number = self.assign_number(sequence, changes)?;
                PeerId { sequence, number }
            }
        };
        let peer = self.insert_peer(Peer {
            host: host.clone(),
            id,
            role,
            holder: client,
            epoch: self.revision + 1,
            lease: Lease::granted(self.now),
        });
        changes.push(Change::Put(peer.clone()));
        Ok(peer)
    }

    /// The lowest free number, or that of the peer whose lease ended longest ago, which
    /// is removed.
    fn assign_number(
        &mut self,
        sequence: Sequence,
        changes: &mut Vec<Change>,
    ) -> Result<u32, Refusal> {
        if let Some(number) = self.free_number(sequence) {
            return Ok(number);
        }
        let peer = self.reclaimable(sequence)?;
        self.remove(&peer);
        changes.push(Change::Delete(peer.host.clone(), peer.id));
        Ok(peer.id.number)
    }

    fn free_number(&self, sequence: Sequence) -> Option<u32> {
        let number = self.numbers(sequence).free.lowest()?;
        self.rules
            .sequence(sequence)
            .contains(number)
            .then_some(number)
    }

    /// The peer whose lease expired longest ago, if it can be reclaimed.
    fn reclaimable(&self, sequence: Sequence) -> Result<Arc<Peer>, Refusal> {
        let numbers = self.numbers(sequence);
        let oldest = numbers.ended.first().zip(self.rules.reclaim);
        let reclaimable = oldest
            .filter(|((expired_at, _), reclaim)| self.now >= *expired_at + *reclaim)
            .filter(|((_, number), _)| !numbers.withheld.contains_key(number))
            .and_then(|((_, number), _)| numbers.taken.get(number));
        reclaimable.cloned().ok_or_else(|| Refusal::Full {
            sequence,
            limit: self.rules.sequence(sequence).limit,
        })
    }

    /// Ends the lease of the holder. The host keeps its ID.
    pub fn leave(
        &mut self,
        now: Time,
        host: &Hostname,
        client: Holder,
    ) -> Result<Arc<Peer>, LeaveRefusal> {
        self.advance(now, host);
        let peer = self
            .hosts
            .get(host.as_str())
            .ok_or(LeaveRefusal::Unknown)?
            .clone();
        if peer.holder != client {
            return Err(LeaveRefusal::NotTheHolder);
        }
        if !self.is_live(peer.id) {
            return Ok(peer);
        }
        // The states of the network that remain if this one is not stored have the old
        // lease, which runs on.
        let peer = self.insert_peer(Peer {
            host: peer.host.clone(),
            id: peer.id,
            role: peer.role,
            holder: peer.holder,
            epoch: peer.epoch,
            lease: Lease::ended(peer.lease.last_heard()),
        });
        let now = self.now;
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.live.remove(peer.id.number);
        numbers.insert_ended(peer.id.number, now);
        Ok(peer)
    }

    /// Releases the ID of a host and its pin, and returns whether it had either.
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

    /// Ends the leases that have expired by `now`. Checks at most `max_checks` of those
    /// whose deadline has passed, so that no request waits for long. If there are more,
    /// as there are one lease after a start, [`next_deadline`](Self::next_deadline)
    /// stays in the past.
    ///
    /// A heartbeat only stores a time in the lease, so a lease may have been renewed
    /// when its deadline passes; it then gets a new deadline. Each check is logarithmic
    /// in the number of peers, and each live peer is checked once per lease.
    pub fn expire(&mut self, now: Time, max_checks: usize) {
        self.now = self.now.max(now);
        let due = self.expiry_time();
        let mut left = max_checks;
        for place in 0..self.sequences.len() {
            while left > 0
                && let Some((deadline, number)) = self.sequences[place].live.first()
                && deadline <= due
            {
                self.check_lease(place, number);
                left -= 1;
            }
        }
    }

    /// Ends the lease of a live peer if it has expired, or sets its new deadline.
    fn check_lease(&mut self, place: usize, number: u32) {
        let Some(peer) = self.sequences[place].taken.get(number).cloned() else {
            self.sequences[place].live.remove(number);
            return;
        };
        let ended = peer
            .lease
            .expire(self.expiry_time(), self.rules.lease, self.heard_since);
        let expires_at = self.expiry(&peer);
        let numbers = &mut self.sequences[place];
        if ended {
            numbers.live.remove(number);
            numbers.insert_ended(number, expires_at);
            self.revision += 1;
        } else {
            numbers.live.insert(number, expires_at);
        }
    }

    /// Advances the time before a decision about a host: checks some leases, and its
    /// own in any case.
    fn advance(&mut self, now: Time, host: &Hostname) {
        self.expire(now, MAX_CHECKS);
        let id = self.hosts.get(host.as_str()).map(|peer| peer.id);
        if let Some(id) = id.filter(|id| self.is_live(*id)) {
            self.check_lease(usize::from(id.sequence.0), id.number);
        }
    }

    /// Removes the peer from every map, and frees its number. Its lease runs on in the
    /// states of the network that remain if this one is not stored.
    pub(super) fn remove(&mut self, peer: &Peer) {
        self.hosts.remove(&peer.host);
        let number = peer.id.number;
        let numbers = self.numbers_mut(peer.id.sequence);
        numbers.live.remove(number);
        numbers.ended.remove(number);
        numbers.ended_pinned.remove(number);
        numbers.taken.remove(number);
        numbers.set_free(number);
    }
}
