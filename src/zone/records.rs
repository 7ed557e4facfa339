//! The records of the zone itself, and the values of templates.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{A, AAAA, NS, SOA, SRV, TXT},
};

use super::{
    Zone,
    name::{NAME_SERVER, NAME_SERVER_PARENT},
};
use crate::{
    network::{Network, Peer, PeerId, Sequence},
    params::{MAX_MEMBERS, Member, Parameters, RenderError, bracketed},
};

/// The maximum length of a character-string (RFC 1035, section 3.3).
pub(super) const STRING_OCTETS: usize = 255;

impl Zone {
    /// A name in the zone: the labels, then the origin. The origin is short enough for
    /// every name that the service creates (`ORIGIN_OCTETS` in `file`).
    pub(super) fn name(&self, labels: &[&str]) -> Name {
        labels
            .iter()
            .rev()
            .try_fold(self.origin.clone(), |name, label| {
                name.prepend_label(label.as_bytes())
            })
            .unwrap_or_else(|_| self.origin.clone())
    }

    /// The name of the ID of a peer: `vp1` in the zone.
    pub(super) fn id_name(&self, peer: &Peer) -> Name {
        self.name(&[&self.rules.id_text(peer.id)])
    }

    pub(super) fn name_server(&self) -> Name {
        self.name(&[NAME_SERVER, NAME_SERVER_PARENT])
    }

    /// The TXT record of the zone: `n=4`, `f=1`, `peers=4`, `live=4`.
    pub(super) fn zone_summary(&self, network: &Network) -> RData {
        let mut strings = self.size();
        strings.push(format!("peers={}", network.len()));
        strings.push(format!("live={}", network.live_len()));
        text(strings)
    }

    /// `n=4` and `f=1`, if the zone has them.
    pub(super) fn size(&self) -> Vec<String> {
        let n = self.n.map(|n| format!("n={n}"));
        let f = self.f().map(|f| format!("f={f}"));
        n.into_iter().chain(f).collect()
    }

    /// `10.0.1.5:7051`, `[fd00::5]:7051`.
    pub(super) fn socket(&self, address: IpAddr) -> String {
        SocketAddr::new(address, self.root_port).to_string()
    }

    /// The SRV records of the live peers that offer a port, as many as fit in one message.
    pub(super) fn services<'a>(
        &'a self,
        network: &'a Network,
        port: &'a str,
    ) -> impl Iterator<Item = (RData, &'a Peer)> {
        let number = self.ports.get(port).copied().unwrap_or_default();
        network
            .live()
            .filter(move |peer| {
                let profile = &self.profiles[usize::from(peer.role.0)];
                profile.ports.iter().any(|offered| offered == port)
            })
            .take(self.max_services())
            .map(move |peer| {
                let srv = SRV::new(0, 0, number, self.id_name(peer));
                (RData::SRV(srv), peer.as_ref())
            })
    }

    /// The number of SRV records that fit in a message of 65,535 octets, besides the
    /// question. A target is not compressed (RFC 2782), the owner is.
    fn max_services(&self) -> usize {
        let name = self.origin.len() + 64;
        (65_535 - 12 - 2 * name) / (2 + 10 + 6 + name)
    }

    /// The environment of a peer, each variable as `NAME=value`.
    pub(super) fn variables(
        &self,
        network: &Network,
        peer: &Peer,
        server: IpAddr,
    ) -> Result<Vec<String>, RenderError> {
        let environment = &self.profiles[usize::from(peer.role.0)].environment;
        let roots = network.roots(peer);
        let roots = roots.map(|root| self.member(network, root.id)).collect();
        let members = if environment.uses("members") {
            let ids = self.member_ids();
            ids.map(|id| self.member(network, id)).collect()
        } else {
            Vec::new()
        };
        let id = self.rules.id_text(peer.id);
        let origin = self.to_string();
        let variables = environment.render(&Parameters {
            id: &id,
            number: peer.id.number,
            name: &[&id, ".", &origin].concat(),
            hostname: peer.host.as_str(),
            role: &self.rules.role(peer.role).name,
            address: &bracketed(peer.holder.address),
            roots,
            members,
            n: self.n,
            f: self.f(),
            origin: &origin,
            epoch: peer.epoch,
            server,
        })?;
        let variables = variables.into_iter();
        Ok(variables
            .map(|(name, value)| [name, "=", &value].concat())
            .collect())
    }

    /// The IDs of the limited sequences, those of the root sequence first.
    pub(super) fn member_ids(&self) -> impl Iterator<Item = PeerId> {
        let root_sequence = self.rules.root_sequence;
        let all = (0..self.rules.sequences.len()).map(|place| Sequence(place as u16));
        let others = all.filter(move |sequence| *sequence != root_sequence);
        let sequences = std::iter::once(root_sequence).chain(others);
        sequences.flat_map(|sequence| {
            let rule = self.rules.sequence(sequence);
            let count = (rule.limit <= MAX_MEMBERS).then_some(rule.limit);
            let numbers = rule.start..rule.start + count.unwrap_or(0);
            numbers.map(move |number| PeerId { sequence, number })
        })
    }

    fn member(&self, network: &Network, id: PeerId) -> Member {
        let address = network.peer(id).map(|peer| bracketed(peer.holder.address));
        let text = self.rules.id_text(id);
        Member {
            name: format!("{text}.{self}"),
            id: text,
            number: id.number,
            address: address.unwrap_or_default(),
            live: network.is_live(id),
            port: self.root_port,
        }
    }

    /// The SOA record. Its serial is the revision of the network. Negative answers must
    /// not be cached (RFC 2308, section 5), since a peer may register at any time.
    pub(super) fn soa(&self, network: &Network) -> Record {
        let serial = network.revision() as u32;
        let hostmaster = self.name(&["hostmaster"]);
        let soa = SOA::new(self.name_server(), hostmaster, serial, 60, 10, 86_400, 0);
        Record::from_rdata(self.origin.clone(), 0, RData::SOA(soa))
    }

    pub(super) fn name_server_data(&self) -> RData {
        RData::NS(NS(self.name_server()))
    }

    pub(super) fn address_record(&self, name: Name, address: IpAddr) -> Record {
        Record::from_rdata(name, self.ttl, self::address(address))
    }
}

/// The data of a TXT record.
pub(super) fn text(strings: Vec<String>) -> RData {
    RData::TXT(TXT::new(strings))
}

/// The data of an address record.
pub(super) fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}
