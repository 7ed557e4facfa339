//! Ready answers: a peer's records as octets, for the short way.
//!
//! What all answers of a zone share (the root nodes, the zone's size, the
//! origin) is laid out once for each state of the network. What is a peer's own
//! is written from the peer itself into the packet, so that a change of one peer
//! costs nothing but that peer. Nothing here allocates while a query is
//! answered. The records are those of [`Zone::peer_answer`].

use std::{hint::black_box, io::Write as _, net::IpAddr, sync::Arc};

use super::{Zone, packet};
use crate::network::{HashedLabel, Hostname, Network, Peer, PeerId, PeerSummary, Role, Slot};

const A: u16 = 1;
pub(super) const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A zone, laid out for one state of its network.
pub struct Ready {
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    /// The origin as it stands in a packet, in lower case.
    origin: Vec<u8>,
    /// One root node more than an answer names, since a peer is not told itself.
    roots: Vec<Root>,
    /// What peers are told of the network that are none of these.
    told: Strings,
    /// `id=vp` with an octet for its length before it, by sequence.
    ids: Vec<Vec<u8>>,
    /// What follows an address, by role: `:7051`, `role=mixed` with its length, and
    /// `epoch=` with an octet for its length before it.
    tails: Vec<Vec<u8>>,
    /// How long `:7051` is.
    port_octets: usize,
}

/// A root node as others are told it.
struct Root {
    /// `10.0.1.3:7051`
    text: String,
    /// `vp0` in the zone, as it stands in a packet.
    name: Vec<u8>,
    address: IpAddr,
    /// What is told there: no peer is told its own address.
    told: Strings,
}

/// `root=10.0.1.3:7051`, `n=4` and `f=1`, each with its length; nothing where one
/// is too long for that.
type Strings = Option<Vec<u8>>;

/// How long `epoch=` is, with its length before it.
const EPOCH_OCTETS: usize = 7;

/// How many records an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub answers: u16,
    pub additional: u16,
}

impl Counts {
    pub const NONE: Self = Self {
        answers: 0,
        additional: 0,
    };
}

/// A name that may call a peer.
#[derive(Clone, Copy)]
pub enum Name<'n> {
    Host {
        host: HashedLabel<'n>,
        /// The label of the role that is named, if one is.
        role: Option<&'n [u8]>,
    },
    Id(PeerId),
}

/// Where it stands whom a name calls, before anything of it has been read.
#[derive(Clone, Copy)]
pub enum Found<'r> {
    /// Who has a host of that name, or seldom somebody else.
    Host(&'r Arc<Peer>),
    /// Who has that ID, if anybody.
    Id(Slot<'r>),
}

/// A peer that a name calls.
pub enum Called<'r> {
    /// By its host, with its role or without.
    Host {
        peer: &'r Arc<Peer>,
        in_role: bool,
    },
    Id(PeerSummary),
}

impl<'r> Called<'r> {
    /// The peer itself, where its host's name calls it, not its ID.
    pub fn host(&self) -> Option<&'r Arc<Peer>> {
        match *self {
            Self::Host { peer, .. } => Some(peer),
            Self::Id(_) => None,
        }
    }
}

impl Found<'_> {
    /// Has the processor fetch from memory what an answer says, and does not wait
    /// for it.
    pub fn fetch(&self) {
        match self {
            Self::Host(peer) => {
                let name = peer.host.as_str().len();
                black_box((name, peer.lease.heard(), peer.holder.address));
            }
            Self::Id(seat) => seat.prefetch(),
        }
    }
}

impl Ready {
    pub fn new(zone: Arc<Zone>, network: Arc<Network>) -> Self {
        let rules = zone.rules.clone();
        let roots = network
            .root_nodes()
            .into_iter()
            .map(|peer| Root {
                text: zone.socket(peer.holder.address),
                name: packet::name(&zone.id_name(peer)),
                address: peer.holder.address,
                told: None,
            })
            .collect();
        let port = format!(":{}", zone.root_port);
        let tails = rules.roles.iter().map(|role| {
            let role = strings([&format!("role={}", role.name)]).unwrap_or_default();
            [port.as_bytes(), &role, b"\0epoch="].concat()
        });
        let ids = rules.sequences.iter();
        let ids = ids.map(|sequence| format!("\0id={}", sequence.name).into());
        let mut ready = Self {
            origin: packet::name(&zone.origin),
            roots,
            told: None,
            ids: ids.collect(),
            tails: tails.collect(),
            port_octets: port.len(),
            zone,
            network,
        };
        ready.told = ready.strings_for(None);
        for place in 0..ready.roots.len() {
            ready.roots[place].told = ready.strings_for(Some(ready.roots[place].address));
        }
        ready
    }

    /// What a peer is told of the network; at that address, if a root node is there.
    fn strings_for(&self, address: Option<IpAddr>) -> Strings {
        let roots: Vec<_> = self.roots_for(address).map(|root| &*root.text).collect();
        let roots = format!("root={}", roots.join(","));
        strings([&roots].into_iter().chain(&self.zone.size()))
    }
}

impl Ready {
    /// How long the origin is: the zone with the longest one has a name.
    pub fn origin_octets(&self) -> usize {
        self.origin.len()
    }

    /// The labels that a name (as it stands in a packet) has before the origin,
    /// if that is one or two.
    pub fn labels<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], Option<&'n [u8]>)> {
        let (first, rest) = label(name)?;
        // Nearly always it is spelt as here, which is sooner seen.
        let is_origin =
            |rest: &[u8]| rest == self.origin || rest.eq_ignore_ascii_case(&self.origin);
        if is_origin(rest) {
            return Some((first, None));
        }
        let (second, rest) = label(rest)?;
        is_origin(rest).then_some((first, Some(second)))
    }

    /// The host that a name would register, and its role, where it says one.
    pub fn registers(
        &self,
        first: &[u8],
        second: Option<&[u8]>,
    ) -> Option<(Hostname, Option<Role>)> {
        let host = Hostname::from_label(first).ok()?;
        if self.zone.gives_away(&host) {
            return None;
        }
        let role = match second {
            Some(label) => Some(self.role_called(label)?),
            None => None,
        };
        Some((host, role))
    }

    fn role_called(&self, label: &[u8]) -> Option<Role> {
        let rules = &self.zone.rules;
        rules.role_named(str::from_utf8(label).ok()?)
    }

    /// The name that has these labels before the origin, if a peer may have it.
    #[inline(always)]
    pub fn name<'n>(&self, first: &'n [u8], second: Option<&'n [u8]>) -> Option<Name<'n>> {
        let rules = &self.zone.rules;
        if rules.is_id_shaped(first) {
            let id = rules.id_named(str::from_utf8(first).ok()?)?;
            return second.is_none().then_some(Name::Id(id));
        }
        Some(Name::Host {
            host: self.network.hash_label(first),
            role: second,
        })
    }

    /// Where it stands whom the name calls.
    pub fn find(&self, name: &Name<'_>) -> Option<Found<'_>> {
        Some(match name {
            Name::Host { host, .. } => {
                let likely = self.network.candidate(host);
                Found::Host(likely.or_else(|| self.network.find(host))?)
            }
            Name::Id(id) => Found::Id(self.network.slot_of(*id)?),
        })
    }

    /// The registered peer that the name calls, which stands there.
    pub fn called<'r>(&'r self, name: &Name<'_>, found: &Found<'r>) -> Option<Called<'r>> {
        match (name, found) {
            (Name::Host { host, role }, Found::Host(likely)) => {
                let peer = match host.matches(likely) {
                    true => likely,
                    false => self.network.find(host)?,
                };
                if let Some(label) = role
                    && self.role_called(label)? != peer.role
                {
                    return None;
                }
                Some(Called::Host {
                    peer,
                    in_role: role.is_some(),
                })
            }
            (_, Found::Id(seat)) => seat.summary().map(Called::Id),
            (Name::Id(_), Found::Host(_)) => None,
        }
    }

    /// Writes the records that answer a question for that type, behind the
    /// question itself. `None` where there are none, or not here.
    pub fn write(&self, called: &Called<'_>, rtype: u16, out: &mut Vec<u8>) -> Option<Counts> {
        match called {
            // Answers that register must reach the service each time.
            Called::Host { peer, in_role } => {
                self.write_told(&PeerSummary::from(&***peer), *in_role, rtype, 0, out)
            }
            Called::Id(peer) => self.write_told(peer, false, rtype, self.zone.ttl, out),
        }
    }

    fn write_told(
        &self,
        peer: &PeerSummary,
        in_role: bool,
        rtype: u16,
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> Option<Counts> {
        match (rtype, peer.address) {
            (TXT | SRV, _) if !self.finds_root(peer) => None,
            (TXT, _) => self.summary(peer, ttl, out),
            (SRV, _) => self.root_services(peer, ttl, out),
            (A, address @ IpAddr::V4(_)) | (AAAA, address @ IpAddr::V6(_))
                if !in_role && self.network.is_live(peer.id) =>
            {
                out.extend(packet::QUESTION);
                packet::address_record(address, self.zone.ttl, out);
                Some(Counts {
                    answers: 1,
                    additional: 0,
                })
            }
            _ => None,
        }
    }

    /// Whether a peer may start: one of another sequence needs a root node.
    fn finds_root(&self, peer: &PeerSummary) -> bool {
        peer.id.sequence == self.zone.rules.root_sequence
            || self.roots_for(Some(peer.address)).next().is_some()
    }

    /// The peer's strings, as [`Zone::summary`] has them.
    pub(super) fn summary(
        &self,
        peer: &PeerSummary,
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> Option<Counts> {
        let mut roots = self.roots.iter();
        let network = match roots.find(|root| root.address == peer.address) {
            Some(root) => &root.told,
            None => &self.told,
        };
        let network = network.as_ref()?;
        packet::record(TXT, ttl, out, |out| {
            let start = out.len();
            out.extend_from_slice(&self.ids[usize::from(peer.id.sequence.0)]);
            packet::decimal(peer.id.number.into(), out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            out.extend_from_slice(network);
            let start = out.len();
            out.extend_from_slice(b"\0address=");
            match peer.address {
                IpAddr::V4(address) => packet::dotted(address, out),
                // A vector takes all that is written.
                IpAddr::V6(address) => write!(out, "[{address}]").ok()?,
            }
            out[start] = u8::try_from(out.len() - start - 1 + self.port_octets).ok()?;
            out.extend_from_slice(&self.tails[usize::from(peer.role.0)]);
            let start = out.len() - EPOCH_OCTETS;
            packet::decimal(peer.epoch, out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            Some(())
        })?;
        Some(Counts {
            answers: 1,
            additional: 0,
        })
    }

    /// The root nodes, and their addresses.
    fn root_services(&self, peer: &PeerSummary, ttl: u32, out: &mut Vec<u8>) -> Option<Counts> {
        let count = self.services(peer, ttl, out)?;
        for root in self.roots_for(Some(peer.address)) {
            out.extend(&root.name);
            packet::address_record(root.address, self.zone.ttl, out);
        }
        (count > 0).then_some(Counts {
            answers: count,
            additional: count,
        })
    }

    /// The root nodes; gives how many they are.
    pub(super) fn services(&self, peer: &PeerSummary, ttl: u32, out: &mut Vec<u8>) -> Option<u16> {
        let mut count = 0u16;
        for root in self.roots_for(Some(peer.address)) {
            packet::record(SRV, ttl, out, |out| {
                out.extend(count.to_be_bytes());
                out.extend([0, 0]);
                out.extend(self.zone.root_port.to_be_bytes());
                out.extend(&root.name);
                Some(())
            })?;
            count += 1;
        }
        Some(count)
    }

    /// The root nodes that a peer at that address is told.
    fn roots_for(&self, address: Option<IpAddr>) -> impl Iterator<Item = &Root> {
        let others = self.roots.iter();
        let others = others.filter(move |root| Some(root.address) != address);
        others.take(self.zone.rules.roots)
    }
}

/// Texts, each with its length before it (RFC 1035, section 3.3), if none is too
/// long for that.
fn strings<'t>(texts: impl IntoIterator<Item = &'t String>) -> Strings {
    let mut strings = Vec::new();
    for text in texts {
        packet::string(&mut strings, |out| out.extend(text.as_bytes()))?;
    }
    Some(strings)
}

/// The first label of a name, and the rest of it.
fn label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    match length {
        0 => None,
        length => rest.split_at_checked(usize::from(*length)),
    }
}
