//! Looks up the registered peer of a name.
//!
//! A lookup has several steps, so that many can be interleaved and share the wait for
//! memory: a name is parsed before memory is read, and a peer is located before it is
//! read.

use std::sync::Arc;

use super::{Form, ZoneView, name::ENVIRONMENT};
use crate::{
    network::{HostKey, IdSlot, Peer, PeerId, PeerRecord, Role},
    prefetch::prefetch,
};

/// A name that a peer may have, parsed but not looked up yet.
#[derive(Clone, Copy)]
pub struct PeerName<'n> {
    key: PeerKey<'n>,
    pub form: Form,
}

#[derive(Clone, Copy)]
enum PeerKey<'n> {
    Host {
        host: HostKey<'n>,
        /// The label of the role, if the name contains one.
        role: Option<&'n [u8]>,
    },
    Id(PeerId),
}

/// The location of a peer in memory, before anything of the peer is read.
#[derive(Clone, Copy)]
pub enum Location<'v> {
    /// The peer of the host, or in rare cases another one with the same hash.
    Host(&'v Arc<Peer>),
    /// The slot of the ID, which may be empty.
    Id(IdSlot<'v>),
}

/// The result of a lookup: the registered peer of a name.
#[derive(Clone, Copy)]
pub enum Lookup<'v> {
    /// The name is that of the host, with or without its role. Only such a name
    /// registers.
    Host {
        peer: &'v Arc<Peer>,
        in_role: bool,
    },
    Id(PeerRecord),
}

impl<'v> Lookup<'v> {
    /// The peer itself, if the name is that of its host and not its ID.
    pub fn host(&self) -> Option<&'v Arc<Peer>> {
        match *self {
            Self::Host { peer, .. } => Some(peer),
            Self::Id(_) => None,
        }
    }
}

impl Location<'_> {
    /// Makes the processor fetch the data for an answer from memory, without waiting for
    /// it.
    pub fn prefetch(&self) {
        match self {
            Self::Host(peer) => prefetch::<Peer>(peer),
            Self::Id(slot) => slot.prefetch(),
        }
    }
}

impl ZoneView {
    /// The labels of a name, in wire format, before the origin; `None` if the name is not
    /// in the zone.
    pub fn below<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let end = name.len().checked_sub(self.origin.len())?;
        let (below, rest) = name.split_at(end);
        // The bytes are nearly always equal, and comparing them is faster.
        if rest != self.origin && !rest.eq_ignore_ascii_case(&self.origin) {
            return None;
        }
        // The matching octets may start within a label.
        let mut left = below;
        while let Some((_, rest)) = label(left) {
            left = rest;
        }
        left.is_empty().then_some(below)
    }

    fn role_of(&self, label: &[u8]) -> Option<Role> {
        let rules = &self.zone.rules;
        rules.role_named(str::from_utf8(label).ok()?)
    }

    /// Parses the labels before the origin; `None` if no peer can have the name.
    #[inline(always)]
    pub fn peer_name<'n>(&self, below: &'n [u8]) -> Option<PeerName<'n>> {
        let (mut first, mut rest) = label(below)?;
        let mut form = Form::Plain;
        if first.eq_ignore_ascii_case(ENVIRONMENT.as_bytes()) {
            form = Form::Environment;
            (first, rest) = label(rest)?;
        }
        let key = if rest.is_empty() && self.zone.rules.is_id_shaped(first) {
            PeerKey::Id(self.zone.rules.id_named(str::from_utf8(first).ok()?)?)
        } else {
            let role = match rest {
                [] => None,
                rest => Some(label(rest).filter(|(_, end)| end.is_empty())?.0),
            };
            let host = self.network.host_key(first);
            PeerKey::Host { host, role }
        };
        Some(PeerName { key, form })
    }

    /// Locates the peer of a name, if there is one.
    pub fn locate(&self, name: &PeerName<'_>) -> Option<Location<'_>> {
        Some(match &name.key {
            PeerKey::Host { host, .. } => {
                let candidate = self.network.find_by_hash(host);
                Location::Host(candidate.or_else(|| self.network.find(host))?)
            }
            PeerKey::Id(id) => Location::Id(self.network.id_slot(*id)?),
        })
    }

    /// The registered peer of a name that has been located.
    pub fn lookup<'v>(
        &'v self,
        name: &PeerName<'_>,
        location: &Location<'v>,
    ) -> Option<Lookup<'v>> {
        match (&name.key, location) {
            (PeerKey::Host { host, role }, Location::Host(candidate)) => {
                let peer = if host.matches(candidate) {
                    candidate
                } else {
                    self.network.find(host)?
                };
                if let Some(label) = role
                    && self.role_of(label)? != peer.role
                {
                    return None;
                }
                Some(Lookup::Host {
                    peer,
                    in_role: role.is_some(),
                })
            }
            (_, Location::Id(slot)) => slot.record().map(Lookup::Id),
            (PeerKey::Id(_), Location::Host(_)) => None,
        }
    }
}

/// The first label of a name, and the rest of the name.
fn label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    match length {
        0 => None,
        length => rest.split_at_checked(usize::from(*length)),
    }
}
