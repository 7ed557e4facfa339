//! A zone in one state of its network, laid out for answers.
//!
//! What all answers of a zone share (the root nodes, the zone's size, the origin) is
//! laid out once for each state of the network. What is a peer's own is written from
//! the peer itself, so that a change of one peer costs nothing but that peer.

use std::{net::IpAddr, sync::Arc};

use super::{
    Zone,
    environments::{Environments, Inputs},
    packet,
};
use crate::network::Network;

/// A zone in one state of its network.
#[derive(Debug)]
pub struct ZoneView {
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    /// The origin as it stands in a packet, in lower case.
    pub(super) origin: Vec<u8>,
    /// One root node more than an answer names, since a peer is not told itself.
    pub(super) roots: Vec<Root>,
    /// What peers are told of the network that are none of these.
    pub(super) network_strings: Strings,
    /// `id=vp` with an octet for its length before it, by sequence.
    pub(super) ids: Vec<Vec<u8>>,
    /// What follows an address, by role: `:7051`, `role=mixed` with its length, and
    /// `epoch=` with an octet for its length before it.
    pub(super) tails: Vec<Vec<u8>>,
    /// How long `:7051` is.
    pub(super) port_octets: usize,
    /// The environments that are kept, and what all of this state depend on.
    pub(super) environments: Arc<Environments>,
    pub(super) inputs: Inputs,
}

/// A root node as others are told it.
#[derive(Debug)]
pub(super) struct Root {
    /// `10.0.1.3:7051`
    text: String,
    /// `vp0` in the zone, as it stands in a packet.
    pub name: Vec<u8>,
    pub address: IpAddr,
    /// What a peer at that address is told: no peer is told its own address.
    pub(super) network_strings: Strings,
}

/// `root=10.0.1.3:7051`, `n=4` and `f=1`, each with its length; nothing where one
/// is too long for that.
pub(super) type Strings = Option<Vec<u8>>;

impl ZoneView {
    /// A view that keeps no environments: for what is asked once.
    pub fn new(zone: Arc<Zone>, network: Arc<Network>) -> Self {
        Self::with(zone, network, Arc::default(), None)
    }

    /// The first view of a zone whose environments are kept there.
    pub fn keeping(
        zone: Arc<Zone>,
        network: Arc<Network>,
        environments: Arc<Environments>,
    ) -> Self {
        Self::with(zone, network, environments, None)
    }

    /// The view of another state of the network.
    pub fn next(&self, network: Arc<Network>) -> Self {
        let (zone, environments) = (self.zone.clone(), self.environments.clone());
        Self::with(zone, network, environments, Some(self))
    }

    fn with(
        zone: Arc<Zone>,
        network: Arc<Network>,
        environments: Arc<Environments>,
        before: Option<&Self>,
    ) -> Self {
        let before = before.map(|view| (&view.inputs, &*view.network));
        let inputs = Inputs::of(&zone, &network, &environments, before);
        let rules = zone.rules.clone();
        let roots = network
            .root_nodes()
            .into_iter()
            .map(|peer| Root {
                text: zone.socket(peer.holder.address),
                name: packet::name(&zone.id_name(peer)),
                address: peer.holder.address,
                network_strings: None,
            })
            .collect();
        let port = format!(":{}", zone.root_port);
        let tails = rules.roles.iter().map(|role| {
            let role = strings([&format!("role={}", role.name)]).unwrap_or_default();
            [port.as_bytes(), &role, b"\0epoch="].concat()
        });
        let ids = rules.sequences.iter();
        let ids = ids.map(|sequence| format!("\0id={}", sequence.name).into());
        let mut view = Self {
            origin: packet::name(&zone.origin),
            roots,
            network_strings: None,
            ids: ids.collect(),
            tails: tails.collect(),
            port_octets: port.len(),
            zone,
            network,
            environments,
            inputs,
        };
        view.network_strings = view.strings_for(None);
        for place in 0..view.roots.len() {
            let address = view.roots[place].address;
            view.roots[place].network_strings = view.strings_for(Some(address));
        }
        view
    }

    /// What a peer is told of the network; at that address, if a root node is there.
    fn strings_for(&self, address: Option<IpAddr>) -> Strings {
        let roots: Vec<_> = self.roots_for(address).map(|root| &*root.text).collect();
        let roots = format!("root={}", roots.join(","));
        strings([&roots].into_iter().chain(&self.zone.size()))
    }
}

impl ZoneView {
    /// How long the origin is: the zone with the longest one has a name.
    pub fn origin_octets(&self) -> usize {
        self.origin.len()
    }

    /// The root nodes that a peer at that address is told.
    pub(super) fn roots_for(&self, address: Option<IpAddr>) -> impl Iterator<Item = &Root> {
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
