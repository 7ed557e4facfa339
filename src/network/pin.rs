//! Pins: IDs that an administrator reserves for hosts.
//!
//! A pinned ID never passes to another host, however long its own host is gone. The
//! host need not be registered yet: it gets the ID when it registers.

use super::{Change, Conflict, Hostname, Network, PeerId, PinRefusal, Role};

impl Network {
    /// The ID that is pinned to the host.
    pub fn pinned(&self, host: &Hostname) -> Option<PeerId> {
        self.pins.get(host).copied()
    }

    /// The host that has the ID, by registration or by a pin.
    pub fn holder_of(&self, id: PeerId) -> Option<&Hostname> {
        let registered = self.peer(id).map(|peer| &peer.host);
        registered.or(self.numbers(id.sequence).pinned.get(&id.number))
    }

    /// All pins, by host.
    pub fn pins(&self) -> impl Iterator<Item = (&Hostname, PeerId)> {
        self.pins.iter().map(|(host, id)| (host, *id))
    }

    /// Pins an ID to a host. Has no effect if it is pinned to it already.
    pub fn pin(
        &mut self,
        host: &Hostname,
        id: PeerId,
        changes: &mut Vec<Change>,
    ) -> Result<(), PinRefusal> {
        if self.pinned(host) == Some(id) {
            return Ok(());
        }
        self.check_pin(host, id)?;
        self.insert_pin(host.clone(), id);
        self.revision += 1;
        changes.push(Change::Pin(host.clone(), id));
        Ok(())
    }

    pub(super) fn check_pin(&self, host: &Hostname, id: PeerId) -> Result<(), PinRefusal> {
        if !self.rules.contains(id) {
            return Err(PinRefusal::OutOfRange);
        }
        if self.role_for(id).is_none() {
            return Err(PinRefusal::NoRole);
        }
        let own = self.host(host).map(|peer| peer.id);
        if own.or(self.pinned(host)).is_some_and(|own| own != id) {
            let host = host.clone();
            return Err(PinRefusal::HasAnother { host });
        }
        match self.holder_of(id).filter(|other| *other != host) {
            Some(other) => Err(PinRefusal::Taken {
                other: other.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Inserts a pin that has been checked.
    pub(super) fn insert_pin(&mut self, host: Hostname, id: PeerId) {
        let numbers = self.numbers_mut(id.sequence);
        numbers.free.remove(id.number);
        numbers.pinned.insert(id.number, host.clone());
        if let Some(expired_at) = numbers.ended.remove(id.number) {
            numbers.ended_pinned.insert(id.number, expired_at);
        }
        self.pins.insert(host, id);
    }

    /// Removes the pin of a host, and returns whether there was one. A registered
    /// host stays registered.
    pub fn unpin(&mut self, host: &Hostname, changes: &mut Vec<Change>) -> bool {
        let Some(id) = self.pins.remove(host) else {
            return false;
        };
        let numbers = self.numbers_mut(id.sequence);
        numbers.pinned.remove(&id.number);
        numbers.set_free(id.number);
        if let Some(expired_at) = numbers.ended_pinned.remove(id.number) {
            numbers.ended.insert(id.number, expired_at);
        }
        self.revision += 1;
        changes.push(Change::Unpin(host.clone()));
        true
    }

    /// The role of a host that states none and gets the ID: the default role, or
    /// else the first role that draws from the sequence of the ID.
    pub(super) fn role_for(&self, id: PeerId) -> Option<Role> {
        let draws = |role: &Role| self.rules.role(*role).sequence == id.sequence;
        let all = (0..self.rules.roles.len()).map(|place| Role(place as u16));
        std::iter::once(self.rules.default_role)
            .chain(all)
            .find(draws)
    }

    /// A stored pin that is refused.
    pub(super) fn pin_conflict(&self, host: Hostname, id: PeerId, refusal: PinRefusal) -> Conflict {
        let id = self.rules.id_text(id);
        Conflict::Pin { host, id, refusal }
    }
}
