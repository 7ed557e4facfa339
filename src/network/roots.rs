//! Root nodes: the live peers that others join the network through.

use std::{net::IpAddr, sync::Arc};

use super::{Network, Peer, Sequence};

/// How many live peers of the root sequence are looked at for the root nodes: many
/// more than an answer names, in case that some share an address, and few enough
/// to be looked at for each registration.
const ROOT_LOOKS: usize = 32;

impl Network {
    /// The root nodes that a peer is told: live peers of the root sequence at
    /// other addresses than its own, lowest number first, no address twice.
    pub fn roots(&self, asker: &Peer) -> impl Iterator<Item = &Arc<Peer>> {
        let (id, address) = (asker.id, asker.holder.address);
        self.root_nodes()
            .into_iter()
            .filter(move |root| root.id != id && root.holder.address != address)
            .take(self.rules.roots)
    }

    /// The root nodes that peers are told, and one more, since a peer may be one
    /// of them itself. Two hosts may have registered with one address when it was
    /// used again; the one that was heard last counts.
    pub fn root_nodes(&self) -> Vec<&Arc<Peer>> {
        let mut nodes: Vec<&Arc<Peer>> = Vec::with_capacity(ROOT_LOOKS);
        for peer in self.live_roots().take(ROOT_LOOKS) {
            let address = peer.holder.address;
            match nodes.iter().position(|it| it.holder.address == address) {
                Some(place) if nodes[place].lease.heard() <= peer.lease.heard() => {
                    nodes.remove(place);
                    nodes.push(peer);
                }
                Some(_) => {}
                None => nodes.push(peer),
            }
        }
        nodes.truncate(self.rules.roots + 1);
        nodes
    }

    /// Whether a peer of that sequence at that address may start: a peer of the
    /// root sequence may be the first of its network, every other one needs a root
    /// node.
    pub fn finds_root(&self, sequence: Sequence, address: IpAddr) -> bool {
        let is_elsewhere = |root: &&Arc<Peer>| root.holder.address != address;
        sequence == self.rules.root_sequence || self.root_nodes().iter().any(is_elsewhere)
    }

    /// All live peers of the root sequence, lowest number first.
    fn live_roots(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let numbers = self.numbers(self.rules.root_sequence);
        let live = numbers.live.numbers();
        live.filter_map(|number| numbers.taken.get(number))
    }

    /// Whether the peer is told the same root nodes by both, of the same holders.
    pub fn has_roots_of(&self, other: &Self, asker: &Peer) -> bool {
        let theirs = other.roots(asker).map(Arc::as_ptr);
        self.roots(asker).map(Arc::as_ptr).eq(theirs)
    }
}
