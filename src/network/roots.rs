//! Root nodes: the live peers through which others join the network.

use std::{net::IpAddr, sync::Arc};

use super::{Network, Peer, Sequence};

/// The number of live peers of the root sequence among which root nodes are chosen:
/// many more than an answer names, in case some share an address, and few enough to
/// be examined for each registration.
const MAX_ROOT_CANDIDATES: usize = 32;

impl Network {
    /// The root nodes for a peer: live peers of the root sequence at addresses other
    /// than its own, lowest number first, no address twice.
    pub fn roots(&self, peer: &Peer) -> impl Iterator<Item = &Arc<Peer>> {
        let (id, address) = (peer.id, peer.holder.address);
        self.root_nodes()
            .into_iter()
            .filter(move |root| root.id != id && root.holder.address != address)
            .take(self.rules.roots)
    }

    /// The root nodes for all peers, and one more, since a peer may be one of them
    /// itself. If two hosts are registered with the same address because it was
    /// reused, the host that was heard last is chosen.
    pub fn root_nodes(&self) -> Vec<&Arc<Peer>> {
        let mut nodes: Vec<&Arc<Peer>> = Vec::with_capacity(MAX_ROOT_CANDIDATES);
        for peer in self.candidates() {
            let address = peer.holder.address;
            match nodes.iter().position(|it| it.holder.address == address) {
                Some(place) if nodes[place].lease.last_heard() <= peer.lease.last_heard() => {
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

    /// Whether a peer of the sequence at the address may start: a peer of the root
    /// sequence can be the first of its network, every other one needs a root node at
    /// another address.
    pub fn may_start(&self, sequence: Sequence, address: IpAddr) -> bool {
        let is_elsewhere = |root: &&Arc<Peer>| root.holder.address != address;
        sequence == self.rules.root_sequence || self.root_nodes().iter().any(is_elsewhere)
    }

    /// The live peers of the root sequence among which root nodes are chosen, lowest
    /// number first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let numbers = self.numbers(self.rules.root_sequence);
        let live = numbers.live.numbers();
        live.filter_map(|number| numbers.taken.get(number))
            .take(MAX_ROOT_CANDIDATES)
    }

    /// Whether both states have the same root nodes for the peer, with the same
    /// holders.
    pub fn has_same_roots(&self, other: &Self, peer: &Peer) -> bool {
        let others = other.roots(peer).map(Arc::as_ptr);
        self.roots(peer).map(Arc::as_ptr).eq(others)
    }
}
