//! Finds the registered peer that a name stands for.
//!
//! In steps, so that many can be looked up next to each other: what a name says is
//! known before memory is waited for, and where a peer is before it is read.

use std::{hint::black_box, sync::Arc};

use super::{Form, ZoneView, name::ENVIRONMENT};
use crate::network::{HostKey, IdSlot, Peer, PeerId, PeerRecord, Role};

/// A name that may be a peer's, before anybody has been looked up.
#[derive(Clone, Copy)]
pub struct PeerName<'n> {
    key: PeerKey<'n>,
    pub form: Form,
}

#[derive(Clone, Copy)]
enum PeerKey<'n> {
    Host {
        host: HostKey<'n>,
        /// The label of the role that is named, if one is.
        role: Option<&'n [u8]>,
    },
    Id(PeerId),
}

/// Where the peer of a name is in memory, before anything of it has been read.
#[derive(Clone, Copy)]
pub enum Location<'v> {
    /// The peer whose host has that name, or seldom another one.
    Host(&'v Arc<Peer>),
    /// The place of the ID, which may be empty.
    Id(IdSlot<'v>),
}

/// The registered peer that a name stands for.
#[derive(Clone, Copy)]
pub enum Lookup<'v> {
    /// By its host's name, with its role or without. Only this way registers.
    Host {
        peer: &'v Arc<Peer>,
        in_role: bool,
    },
    Id(PeerRecord),
}

impl<'v> Lookup<'v> {
    /// The peer itself, where the name is its host's and not its ID.
    pub fn host(&self) -> Option<&'v Arc<Peer>> {
        match *self {
            Self::Host { peer, .. } => Some(peer),
            Self::Id(_) => None,
        }
    }
}

impl Location<'_> {
    /// Has the processor fetch from memory what an answer says, and does not wait
    /// for it.
    pub fn prefetch(&self) {
        match self {
            Self::Host(peer) => {
                let name = peer.host.as_str().len();
                black_box((name, peer.lease.heard(), peer.holder.address));
            }
            Self::Id(slot) => slot.prefetch(),
        }
    }
}

impl ZoneView {
    /// What a name (as it stands in a packet) has before the origin, if it is in the
    /// zone.
    pub fn below<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let end = name.len().checked_sub(self.origin.len())?;
        let (below, rest) = name.split_at(end);
        // Nearly always it is spelt as here, which is sooner seen.
        if rest != self.origin && !rest.eq_ignore_ascii_case(&self.origin) {
            return None;
        }
        // What looks like the origin may begin within a label.
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

    /// The name that has these labels before the origin, if a peer may have it.
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

    /// Where the peer of that name is, if there is one.
    pub fn locate(&self, name: &PeerName<'_>) -> Option<Location<'_>> {
        Some(match &name.key {
            PeerKey::Host { host, .. } => {
                let likely = self.network.likely(host);
                Location::Host(likely.or_else(|| self.network.find(host))?)
            }
            PeerKey::Id(id) => Location::Id(self.network.id_slot(*id)?),
        })
    }

    /// The registered peer of that name, which was located there.
    pub fn lookup<'v>(
        &'v self,
        name: &PeerName<'_>,
        location: &Location<'v>,
    ) -> Option<Lookup<'v>> {
        match (&name.key, location) {
            (PeerKey::Host { host, role }, Location::Host(likely)) => {
                let peer = match host.is(likely) {
                    true => likely,
                    false => self.network.find(host)?,
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

/// The first label of a name, and the rest of it.
fn label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    match length {
        0 => None,
        length => rest.split_at_checked(usize::from(*length)),
    }
}
