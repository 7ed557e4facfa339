//! Ready answers: a peer's records as octets, for the short way.
//!
//! What all answers of a zone share (the root nodes, the zone's size, the
//! origin) is laid out once for each state of the network. What is a peer's own
//! is written from the peer itself into the packet, so that a change of one peer
//! costs nothing but that peer. Nothing here allocates while a query is
//! answered. The records are those of [`Zone::peer_answer`].

use std::{
    hint::black_box,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_proto::rr;

use super::Zone;
use crate::network::{Hostname, Network, Peer, PeerId, Role, Seat, Told};

/// A pointer to the question's name, which stands behind the header.
const QUESTION: [u8; 2] = [0xc0, 12];

const A: u16 = 1;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const IN: u16 = 1;

/// A zone, laid out for one state of its network.
pub struct Ready {
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    /// The origin as it stands in a packet, in lower case.
    origin: Vec<u8>,
    /// One root node more than an answer names, since a peer is not told itself.
    roots: Vec<Root>,
    /// `n=4` and `f=1`, each with its length.
    size: Vec<u8>,
    /// `role=mixed` with its length, by role.
    roles: Vec<Vec<u8>>,
    /// `:7051`
    port: String,
}

/// A root node as others are told it.
struct Root {
    id: PeerId,
    /// `10.0.1.3:7051`
    text: String,
    /// `vp0` in the zone, as it stands in a packet.
    name: Vec<u8>,
    address: IpAddr,
}

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

/// Whom a name calls: a registered host, perhaps with its role, or an ID, which
/// need not be taken.
#[derive(Clone, Copy)]
pub enum Name<'r> {
    Host { peer: &'r Arc<Peer>, in_role: bool },
    Id(Seat<'r>),
}

/// A peer that a name calls.
pub struct Called<'r> {
    pub told: Told,
    /// The peer itself, where its host's name calls it, not its ID.
    pub host: Option<&'r Arc<Peer>>,
    /// With its role.
    pub in_role: bool,
}

impl<'r> Name<'r> {
    /// Has the processor fetch from memory what an answer says, and does not wait
    /// for it.
    pub fn fetch(&self) {
        match self {
            Self::Host { peer, .. } => {
                black_box((peer.lease.heard(), peer.holder.address));
            }
            Self::Id(seat) => seat.fetch(),
        }
    }

    /// The registered peer that is called so.
    pub fn called(self) -> Option<Called<'r>> {
        Some(match self {
            Self::Host { peer, in_role } => Called {
                told: Told::from(&**peer),
                host: Some(peer),
                in_role,
            },
            Self::Id(seat) => Called {
                told: seat.told()?,
                host: None,
                in_role: false,
            },
        })
    }
}

impl Ready {
    pub fn new(zone: Arc<Zone>, network: Arc<Network>) -> Self {
        let named = network.rules().roots + 1;
        let roots = network
            .live_roots()
            .take(named)
            .map(|peer| Root {
                id: peer.id,
                text: zone.socket(peer.holder.address),
                name: wire(&zone.id_name(peer)),
                address: peer.holder.address,
            })
            .collect();
        let origin = wire(&zone.origin);
        let string = |text: &String| [&[text.len() as u8], text.as_bytes()].concat();
        let size = zone.size().iter().flat_map(string).collect();
        let rules = zone.rules.clone();
        let roles = rules.roles.iter();
        let roles = roles.map(|role| string(&format!("role={}", role.name)));
        Self {
            origin,
            roots,
            size,
            roles: roles.collect(),
            port: format!(":{}", zone.root_port),
            zone,
            network,
        }
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
        if rest.eq_ignore_ascii_case(&self.origin) {
            return Some((first, None));
        }
        let (second, rest) = label(rest)?;
        rest.eq_ignore_ascii_case(&self.origin)
            .then_some((first, Some(second)))
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
        let mut buffer = [0; 63];
        self.zone
            .rules
            .role_named(in_lower_case(label, &mut buffer)?)
    }

    /// Whom a name calls that has these labels before the origin.
    pub fn name(&self, first: &[u8], second: Option<&[u8]>) -> Option<Name<'_>> {
        let mut buffer = [0; 63];
        let name = in_lower_case(first, &mut buffer)?;
        let rules = &self.zone.rules;
        if rules.is_id_shaped(name) {
            let id = rules.id_named(name).filter(|_| second.is_none())?;
            return Some(Name::Id(self.network.seat_of(id)?));
        }
        let peer = self.network.host_named(name)?;
        if let Some(second) = second
            && self.role_called(second)? != peer.role
        {
            return None;
        }
        Some(Name::Host {
            peer,
            in_role: second.is_some(),
        })
    }

    /// Writes the records that answer a question for that type, behind the
    /// question itself. `None` where there are none, or not here.
    pub fn write(&self, called: &Called<'_>, rtype: u16, out: &mut Vec<u8>) -> Option<Counts> {
        // Answers that register must reach the service each time.
        let ttl = if called.host.is_some() {
            0
        } else {
            self.zone.ttl
        };
        let peer = &called.told;
        match (rtype, peer.address) {
            (TXT, _) => self.summary(peer, ttl, out),
            (SRV, _) => self.root_services(peer, ttl, out),
            (A, address @ IpAddr::V4(_)) | (AAAA, address @ IpAddr::V6(_)) if !called.in_role => {
                out.extend(QUESTION);
                address_record(address, self.zone.ttl, out);
                Some(Counts {
                    answers: 1,
                    additional: 0,
                })
            }
            _ => None,
        }
    }

    /// The peer's strings, as [`Zone::summary`] has them.
    fn summary(&self, peer: &Told, ttl: u32, out: &mut Vec<u8>) -> Option<Counts> {
        record(TXT, ttl, out, |out| {
            string(out, |out| {
                out.extend(b"id=");
                let rule = self.zone.rules.sequence(peer.id.sequence);
                out.extend(rule.name.as_bytes());
                decimal(peer.id.number, out);
            })?;
            string(out, |out| {
                out.extend(b"root=");
                for (place, root) in self.roots_of(peer).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    out.extend(root.text.as_bytes());
                }
            })?;
            out.extend(&self.size);
            string(out, |out| {
                out.extend(b"address=");
                self.socket(peer.address, out);
            })?;
            out.extend(self.role(peer.role));
            Some(())
        })?;
        Some(Counts {
            answers: 1,
            additional: 0,
        })
    }

    /// The root nodes, and their addresses.
    fn root_services(&self, peer: &Told, ttl: u32, out: &mut Vec<u8>) -> Option<Counts> {
        let mut count = 0;
        for root in self.roots_of(peer) {
            record(SRV, ttl, out, |out| {
                out.extend(u16::to_be_bytes(count));
                out.extend([0, 0]);
                out.extend(self.zone.root_port.to_be_bytes());
                out.extend(&root.name);
                Some(())
            })?;
            count += 1;
        }
        for root in self.roots_of(peer) {
            out.extend(&root.name);
            address_record(root.address, self.zone.ttl, out);
        }
        (count > 0).then_some(Counts {
            answers: count,
            additional: count,
        })
    }

    fn roots_of(&self, peer: &Told) -> impl Iterator<Item = &Root> {
        let id = peer.id;
        let others = self.roots.iter().filter(move |root| root.id != id);
        others.take(self.zone.rules.roots)
    }

    fn role(&self, role: Role) -> &[u8] {
        &self.roles[usize::from(role.0)]
    }

    /// `10.0.1.5:7051`
    fn socket(&self, address: IpAddr, out: &mut Vec<u8>) {
        match address {
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        out.push(b'.');
                    }
                    decimal(octet.into(), out);
                }
                out.extend(self.port.as_bytes());
            }
            address => {
                let socket = SocketAddr::new(address, self.zone.root_port);
                // A vector takes all that is written.
                let _ = write!(out, "{socket}");
            }
        }
    }
}

/// A name as it stands in a packet.
fn wire(name: &rr::Name) -> Vec<u8> {
    let labels = name
        .iter()
        .flat_map(|label| [&[label.len() as u8], label].concat());
    labels.chain([0]).collect()
}

/// The first label of a name, and the rest of it.
fn label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    match length {
        0 => None,
        length => rest.split_at_checked(usize::from(*length)),
    }
}

/// A label as text, if it is one that a host, an ID or a role may have.
fn in_lower_case<'b>(label: &[u8], buffer: &'b mut [u8; 63]) -> Option<&'b str> {
    let text = buffer.get_mut(..label.len())?;
    for (place, octet) in text.iter_mut().zip(label) {
        if !octet.is_ascii_alphanumeric() && !matches!(octet, b'-' | b'_') {
            return None;
        }
        *place = octet.to_ascii_lowercase();
    }
    std::str::from_utf8(text).ok()
}

/// Writes a record at the question's name.
fn record(
    rtype: u16,
    ttl: u32,
    out: &mut Vec<u8>,
    data: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    out.extend(QUESTION);
    out.extend(rtype.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    let length = out.len();
    out.extend([0, 0]);
    data(out)?;
    let octets = u16::try_from(out.len() - length - 2).ok()?;
    out[length..length + 2].copy_from_slice(&octets.to_be_bytes());
    Some(())
}

/// Writes type, class, TTL and data of an address.
fn address_record(address: IpAddr, ttl: u32, out: &mut Vec<u8>) {
    let (rtype, length) = match address {
        IpAddr::V4(_) => (A, 4u16),
        IpAddr::V6(_) => (AAAA, 16),
    };
    out.extend(rtype.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(length.to_be_bytes());
    match address {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

/// Writes a character-string (RFC 1035, section 3.3).
fn string(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
    let start = out.len();
    out.push(0);
    text(out);
    out[start] = u8::try_from(out.len() - start - 1).ok()?;
    Some(())
}

fn decimal(mut number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(&digits[first..]);
}
