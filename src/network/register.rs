//! The decisions: registering, renewing, taking over, reclaiming, leaving,
//! releasing, and the end of a lease.

use std::sync::Arc;

use super::{Change, Holder, Hostname, Lease, Network, Peer, PeerId, Role, Sequence, Time};

/// How many leases are looked at for a decision. Nearly always all that may have
/// run out.
const LOOKS: usize = 64;

/// Why a host is not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The host registered with another role.
    OtherRole(Role),
    /// No root node is live, and a peer of this role may not be the first.
    NoRoot(Role),
    /// The host is to have this ID, which no peer of the role has.
    Pinned(PeerId),
    /// Every number of the sequence is taken, and none may be reclaimed yet.
    Full { sequence: Sequence, limit: u32 },
}

/// Why a lease is not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveRefusal {
    /// No such host is registered.
    Unknown,
    /// The lease belongs to another.
    NotTheHolder,
}

impl Network {
    /// A host asks for its parameters.
    ///
    /// Gives the peer as it stands afterwards, which is the asker only if
    /// [`Peer::holder`] says so: while another's lease runs, the answer is the
    /// other's, unchanged. `role` is `None` where the asker states none.
    /// What must become durable is added to `changes`.
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
            Some(peer) => self.return_of(peer, role, asker, changes),
            None => self.arrival_of(host, role, asker, changes),
        }
    }

    /// A host that is registered.
    fn return_of(
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
            // A lease that was ended by a change which could not be made
            // durable, and so was undone, is granted again.
            if is_holder && !peer.lease.renew(now, self.rules.lease) {
                peer.lease.grant(now);
            }
            return Ok(peer);
        }
        if !self.finds_root(peer.id.sequence, asker.address) {
            return Err(Refusal::NoRoot(peer.role));
        }
        // The lease has ended: whoever asks becomes the holder, with the same ID.
        if is_holder {
            peer.lease.grant(now);
            let deadline = now + self.rules.lease;
            let numbers = self.numbers_mut(peer.id.sequence);
            numbers.lives(peer.id.number, deadline);
            self.revision += 1;
            return Ok(peer);
        }
        let peer = self.insert_peer(Peer {
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

    /// A host that is not registered: it gets the lowest free number, or that
    /// of the peer that has been gone for longest.
    fn arrival_of(
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
        let peer = self.insert_peer(Peer {
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

    /// The lowest free number, or that of the peer that has been gone longest.
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

    /// The peer whose lease ran out longest ago, if that is long enough ago.
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

    /// The holder ends its lease. Its number stays with the host.
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
            numbers.gone(peer.id.number, now);
            self.revision += 1;
        }
        Ok(peer)
    }

    /// Frees the host's number, pinned or not; says whether it had one.
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

    /// Ends the leases that have run out by `now`; looks at `most` of those that
    /// may have, so that nobody waits for long. Where there are more, as there are
    /// one lease after a start, [`next_deadline`](Self::next_deadline) says that it
    /// has passed.
    ///
    /// Heartbeats only store a time in the lease, so a lease whose look-out
    /// time has come may have been renewed meanwhile; it is then looked at
    /// again when it would run out. Each look is logarithmic in the number of
    /// peers, and each live peer is looked at once a lease.
    pub fn expire(&mut self, now: Time, most: usize) {
        self.now = self.now.max(now);
        let mut left = most;
        for place in 0..self.sequences.len() {
            while left > 0
                && let Some((deadline, number)) = self.sequences[place].live.first()
                && deadline <= self.now
            {
                self.look_at(place, number);
                left -= 1;
            }
        }
    }

    /// Ends the lease of a live peer if it has run out, or notes when it will.
    fn look_at(&mut self, place: usize, number: u32) {
        let Some(peer) = self.sequences[place].taken.get(number).cloned() else {
            self.sequences[place].live.remove(number);
            return;
        };
        let ended = peer
            .lease
            .expire(self.now, self.rules.lease, self.heard_since);
        let runs_out = self.runs_out(&peer);
        let numbers = &mut self.sequences[place];
        if ended {
            numbers.live.remove(number);
            numbers.gone(number, runs_out);
            self.revision += 1;
        } else {
            numbers.live.insert(number, runs_out);
        }
    }

    /// Lets time pass before a decision about that host: its own lease is looked
    /// at in any case, and some of the others.
    fn advance(&mut self, now: Time, host: &Hostname) {
        self.expire(now, LOOKS);
        let id = self.hosts.get(host.as_str()).map(|peer| peer.id);
        if let Some(id) = id.filter(|id| self.is_live(*id)) {
            self.look_at(usize::from(id.sequence.0), id.number);
        }
    }

    /// Takes the peer out of every map, and frees its number.
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
