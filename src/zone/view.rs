//! A zone in one state of its network, prepared for answers.
//!
//! The parts that all answers of a zone share (the root nodes, the size of the zone, the
//! origin) are encoded once for each state of the network. The parts of a peer are
//! written from the peer itself, so that a change of one peer costs nothing else.

use std::{net::IpAddr, sync::Arc};

use super::{
    Zone,
    environments::{EnvironmentCache, Inputs},
    packet,
};
use crate::network::Network;

/// A zone in one state of its network.
#[derive(Debug)]
pub struct ZoneView {
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    /// The origin in wire format, in lower case.
    pub(super) origin: Vec<u8>,
    /// The root nodes, one more than an answer names, since no peer gets itself as a
    /// root node.
    pub(super) roots: Vec<RootNode>,
    /// The strings about the network for peers that are not root nodes.
    pub(super) network_strings: Strings,
    /// By sequence: `id=vp` after an octet for its length.
    pub(super) id_prefixes: Vec<Vec<u8>>,
    /// By role, what follows an address: `:7051`, `role=mixed` with its length, and
    /// `epoch=` after an octet for its length.
    pub(super) address_suffixes: Vec<Vec<u8>>,
    /// The length of `:7051`.
    pub(super) port_octets: usize,
    /// The cached environments.
    pub(super) environments: Arc<EnvironmentCache>,
    /// The inputs of all environments in this state.
    pub(super) inputs: Inputs,
}

/// A root node as answers show it.
#[derive(Debug)]
pub(super) struct RootNode {
    /// `10.0.1.3:7051`
    text: String,
    /// `vp0` in the zone, in wire format.
    pub name: Vec<u8>,
    pub address: IpAddr,
    /// The strings for a peer at this address, which do not contain the address itself.
    pub(super) network_strings: Strings,
}

/// `root=10.0.1.3:7051`, `n=4` and `f=1` as character-strings; `None` if one is too long.
pub(super) type Strings = Option<Vec<u8>>;

impl ZoneView {
    /// A view that caches no environments, for a single use.
    pub fn new(zone: Arc<Zone>, network: Arc<Network>) -> Self {
        Self::build(zone, network, Arc::default(), None)
    }

    /// The first view of a zone with a cache of environments.
    pub fn with_cache(
        zone: Arc<Zone>,
        network: Arc<Network>,
        environments: Arc<EnvironmentCache>,
    ) -> Self {
        Self::build(zone, network, environments, None)
    }

    /// The view of another state of the network.
    pub fn next(&self, network: Arc<Network>) -> Self {
        let (zone, environments) = (self.zone.clone(), self.environments.clone());
        Self::build(zone, network, environments, Some(&self.inputs))
    }

    fn build(
        zone: Arc<Zone>,
        network: Arc<Network>,
        environments: Arc<EnvironmentCache>,
        inputs_before: Option<&Inputs>,
    ) -> Self {
        let inputs = Inputs::of(&zone, &network, &environments, inputs_before);
        let rules = zone.rules.clone();
        let roots = network
            .root_nodes()
            .into_iter()
            .map(|peer| RootNode {
                text: zone.socket(peer.holder.address),
                name: packet::name(&zone.id_name(peer)),
                address: peer.holder.address,
                network_strings: None,
            })
            .collect();
        let port = format!(":{}", zone.root_port);
        let address_suffixes = rules.roles.iter().map(|role| {
            let role = strings([&format!("role={}", role.name)]).unwrap_or_default();
            [port.as_bytes(), &role, b"\0epoch="].concat()
        });
        let sequences = rules.sequences.iter();
        let id_prefixes = sequences.map(|sequence| format!("\0id={}", sequence.name).into());
        let mut view = Self {
            origin: packet::name(&zone.origin),
            roots,
            network_strings: None,
            id_prefixes: id_prefixes.collect(),
            address_suffixes: address_suffixes.collect(),
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

    /// The strings about the network for a peer: at the address of a root node, or `None`
    /// for any other.
    fn strings_for(&self, address: Option<IpAddr>) -> Strings {
        let roots: Vec<_> = self.roots_for(address).map(|root| &*root.text).collect();
        let roots = format!("root={}", roots.join(","));
        strings([&roots].into_iter().chain(&self.zone.size()))
    }

    /// The root nodes for a peer at the address.
    pub(super) fn roots_for(&self, address: Option<IpAddr>) -> impl Iterator<Item = &RootNode> {
        let others = self.roots.iter();
        let others = others.filter(move |root| Some(root.address) != address);
        others.take(self.zone.rules.roots)
    }
}

/// Texts as character-strings (RFC 1035, section 3.3); `None` if one is too long.
fn strings<'t>(texts: impl IntoIterator<Item = &'t String>) -> Strings {
    let mut strings = Vec::new();
    for text in texts {
        packet::string(&mut strings, |out| out.extend(text.as_bytes()))?;
    }
    Some(strings)
}
