//! Root nodes: the live peers through which others join the network.

use std::{net::IpAddr, sync::Arc};

use super::{Network, Peer, Sequence};

/// How many live peers of the root sequence are considered as root nodes: many
/// more than an answer contains, since some may share an address, and few enough
/// to be read for each registration.
const ROOT_CANDIDATES: usize = 32;

impl Network {
    /// The root nodes for a peer: live peers of the root sequence at other
    /// addresses than its own, in ascending order, each address once.
    pub fn roots(&self, asker: &Peer) -> impl Iterator<Item = &Arc<Peer>> {
        let (id, address) = (asker.id, asker.holder.address);
        self.root_nodes()
            .into_iter()
            .filter(move |root| root.id != id && root.holder.address != address)
            .take(self.rules.roots)
    }

    /// The root nodes that peers are given, and one more, since a peer may itself
    /// be one of them. If two hosts registered with one address because it was
    /// reused, the one that was heard last counts.
    pub fn root_nodes(&self) -> Vec<&Arc<Peer>> {
        let mut nodes: Vec<&Arc<Peer>> = Vec::with_capacity(ROOT_CANDIDATES);
        for peer in self.live_roots().take(ROOT_CANDIDATES) {
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

    /// Whether a peer of this sequence at this address may start: a peer of the
    /// root sequence may be the first of its network, every other peer needs a
    /// root node.
    pub fn finds_root(&self, sequence: Sequence, address: IpAddr) -> bool {
        let is_elsewhere = |root: &&Arc<Peer>| root.holder.address != address;
        sequence == self.rules.root_sequence || self.root_nodes().iter().any(is_elsewhere)
    }

    /// All live peers of the root sequence, in ascending order.
    fn live_roots(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let numbers = self.numbers(self.rules.root_sequence);
        let live = numbers.live.numbers();
        live.filter_map(|number| numbers.taken.get(number))
    }

    /// Whether both networks give the peer the same root nodes with the same
    /// holders.
    pub fn has_roots_of(&self, other: &Self, asker: &Peer) -> bool {
        let theirs = other.roots(asker).map(Arc::as_ptr);
        self.roots(asker).map(Arc::as_ptr).eq(theirs)
    }
}
