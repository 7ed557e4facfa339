//! The invariants that must hold after each step.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use param_daemon::network::{Hostname, Peer, PeerId, PeerRecord, Sequence};

use super::{play::Play, steps::stored};

impl Play {
    pub fn check(&mut self) {
        let now = self.now();
        self.network.expire(now, usize::MAX);
        let network = &self.network;
        let mut by_id: HashMap<PeerId, &Hostname> = HashMap::new();
        for peer in network.peers() {
            if let Some(other) = by_id.insert(peer.id, &peer.host) {
                panic!("{:?} is held by {other} and {}", peer.id, peer.host);
            }
            assert!(
                self.rules
                    .sequence(peer.id.sequence)
                    .contains(peer.id.number)
            );
            let by_host = network.host(&peer.host).expect("found by its host too");
            assert!(Arc::ptr_eq(by_host, peer), "the same by host and by ID");
            let summary = network.id_slot(peer.id).and_then(|slot| slot.record());
            assert_eq!(
                summary,
                Some(PeerRecord::from(&**peer)),
                "the summary by ID is the same"
            );
            assert_eq!(
                network.is_live(peer.id),
                self.lease_runs(&peer.host),
                "{} is live exactly while its lease runs",
                peer.host
            );
            self.check_roots(peer);
        }
        assert_eq!(by_id.len(), network.len());
        for (sequence, number) in (0..2).flat_map(|it| (0..40).map(move |number| (it, number))) {
            let id = PeerId {
                sequence: Sequence(sequence),
                number,
            };
            let summary = network.id_slot(id).and_then(|slot| slot.record());
            assert_eq!(summary.is_some(), by_id.contains_key(&id), "{id:?}");
        }
        assert_eq!(network.live().count(), network.live_len());
        let registered: BTreeMap<_, _> = network
            .peers()
            .map(|peer| (peer.host.clone(), stored(peer)))
            .collect();
        assert_eq!(registered, self.disk, "the disk has what was answered");
        let peers: Vec<_> = network.peers().cloned().collect();
        for peer in peers {
            self.check_epoch(&peer);
        }
        let network = &self.network;
        let pins: BTreeMap<_, _> = network
            .pins()
            .map(|(host, id)| (host.clone(), id))
            .collect();
        assert_eq!(pins, self.pins);
        for (host, id) in pins {
            let own = network.host(&host).map(|peer| peer.id);
            assert!(
                own.is_none_or(|own| own == id),
                "who has a pin has no other ID"
            );
            let holder = network.peer(id).map(|peer| &peer.host);
            assert!(
                holder.is_none_or(|holder| *holder == host),
                "a pin is nobody else's"
            );
        }
    }

    pub fn check_roots(&self, peer: &Peer) {
        let roots: Vec<PeerId> = self.network.roots(peer).map(|root| root.id).collect();
        let candidates: Vec<&Arc<Peer>> = self
            .network
            .peers()
            .filter(|root| root.id.sequence == self.rules.root_sequence)
            .filter(|root| root.holder.address != peer.holder.address)
            .filter(|root| self.lease_runs(&root.host))
            .collect();
        let heard_last = |root: &&Arc<Peer>| {
            let address = root.holder.address;
            let there = candidates.iter().filter(|it| it.holder.address == address);
            let last = there.max_by_key(|it| (it.lease.last_heard(), it.id.number));
            last.is_some_and(|last| last.id == root.id)
        };
        let expected = candidates.iter().copied().filter(heard_last);
        let expected: Vec<PeerId> = expected.map(|it| it.id).take(self.rules.roots).collect();
        assert_eq!(
            roots, expected,
            "root nodes: live, at another address than the asker, none twice, lowest first"
        );
    }

    /// The epoch rises with each new holder of an ID, and never falls.
    pub fn check_epoch(&mut self, peer: &Peer) {
        let holder = (peer.host.clone(), peer.holder, peer.epoch);
        let Some((host, before, epoch)) = self.holders.insert(peer.id, holder) else {
            return;
        };
        if (&host, before) == (&peer.host, peer.holder) {
            assert!(peer.epoch >= epoch, "the epoch has fallen");
        } else {
            assert!(peer.epoch > epoch, "another holder, and no higher epoch");
        }
    }
}
