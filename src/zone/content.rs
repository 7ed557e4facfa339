//! The whole zone as a stream of records: for transfers and dumps.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    ProtoError,
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};

use super::{Zone, name::STATUS, records};
use crate::{
    network::{Network, Peer, Time},
    store::Registration,
};

impl Zone {
    /// All records of the zone, the SOA first (and not again at the end).
    ///
    /// Left out are the names that only serve to register: `HOST.ROLE` and
    /// `_leave.HOST`. Every other name gives here what a query for it gives.
    pub fn content<'a>(&'a self, network: &'a Network) -> impl Iterator<Item = Record> + 'a {
        let own_servers = self.further.at(&self.origin).is_some_and(|records| {
            records
                .iter()
                .any(|record| record.record_type() == RecordType::NS)
        });
        let record = |name: &Name, ttl, data| Record::from_rdata(name.clone(), ttl, data);
        let mut head = vec![self.soa(network)];
        if !own_servers {
            let servers = self.name_server_records();
            head.extend(
                servers
                    .into_iter()
                    .map(|data| record(&self.origin, self.ttl, data)),
            );
        }
        head.push(record(&self.origin, self.ttl, self.zone_summary(network)));
        head.extend(self.server_addresses());
        head.extend(self.further.iter().cloned());
        let services = self.ports.keys().flat_map(move |port| {
            let owner = self.name(&[&format!("_{port}"), "_tcp"]);
            self.services(network, port)
                .map(move |(data, _)| Record::from_rdata(owner.clone(), self.ttl, data))
        });
        let peers = network
            .peers()
            .flat_map(move |peer| self.peer_content(network, peer));
        head.into_iter().chain(services).chain(peers)
    }

    /// The records at a peer's host name and at its ID.
    fn peer_content(&self, network: &Network, peer: &Peer) -> Vec<Record> {
        let summary = self.summary(network, peer);
        let address = records::address(peer.holder.address);
        let roots: Vec<RData> = self
            .root_services(network, peer)
            .map(|(data, _)| data)
            .collect();
        let environment = self.environment(network, peer);
        let id = self.rules.id_text(peer.id);
        let mut content = Vec::with_capacity(2 * (2 + roots.len() + environment.len()));
        for (label, ttl) in [(peer.host.as_str(), 0), (id.as_str(), self.ttl)] {
            let name = self.name(&[label]);
            content.push(Record::from_rdata(name.clone(), self.ttl, address.clone()));
            content.push(Record::from_rdata(name.clone(), ttl, summary.clone()));
            for data in &roots {
                content.push(Record::from_rdata(name.clone(), ttl, data.clone()));
            }
            let name = self.name(&["_env", label]);
            for data in &environment {
                content.push(Record::from_rdata(name.clone(), ttl, data.clone()));
            }
        }
        content
    }

    /// The zone below `_peers`: one TXT record for each peer, at its host name,
    /// with its state besides what was registered. It is no part of the zone's
    /// own content, since `heard=`, the seconds since the peer was last heard,
    /// changes with each heartbeat; the serial is the zone's.
    pub fn status<'a>(
        &'a self,
        network: &'a Network,
        now: Time,
    ) -> impl Iterator<Item = Record> + 'a {
        let origin = self.name(&[STATUS]);
        let mut soa = self.soa(network);
        soa.name = origin.clone();
        let servers = self
            .name_server_records()
            .into_iter()
            .map(move |data| Record::from_rdata(origin.clone(), 0, data));
        let peers = network.peers().map(move |peer| {
            let state = if network.is_live(peer.id) {
                "live"
            } else {
                "gone"
            };
            let heard = Duration::from_millis(now.0.saturating_sub(peer.lease.heard().0));
            let rule = self.rules.sequence(peer.id.sequence);
            let strings = vec![
                format!("sequence={}", rule.name),
                format!("number={}", peer.id.number),
                format!("role={}", self.rules.role(peer.role).name),
                format!("source={}", peer.holder.source),
                format!("address={}", peer.holder.address),
                format!("state={state}"),
                format!("heard={}", heard.as_secs()),
            ];
            let name = self.name(&[peer.host.as_str(), STATUS]);
            Record::from_rdata(name, 0, RData::TXT(TXT::new(strings)))
        });
        std::iter::once(soa).chain(servers).chain(peers)
    }
}

/// The origin of the zone that has the state of a zone's peers.
pub fn status_of(origin: &Name) -> Result<Name, ProtoError> {
    origin.prepend_label(STATUS)
}

/// The peer that a TXT record of the zone below `_peers` describes: what was
/// registered, whether it is live, and how long ago it was heard.
pub fn peer_of_status(record: &Record) -> Option<(Registration, bool, Duration)> {
    let RData::TXT(txt) = &record.data else {
        return None;
    };
    let value = |key: &str| {
        txt.txt_data.iter().find_map(|string| {
            let string = std::str::from_utf8(string).ok()?;
            string.strip_prefix(key)?.strip_prefix('=')
        })
    };
    let host = record.name.iter().next()?;
    let address = |key| value(key)?.parse::<IpAddr>().ok();
    let registration = Registration {
        host: std::str::from_utf8(host).ok()?.to_owned(),
        sequence: value("sequence")?.to_owned(),
        number: value("number")?.parse().ok()?,
        role: value("role")?.to_owned(),
        source: address("source")?,
        address: address("address")?,
    };
    let heard = Duration::from_secs(value("heard")?.parse().ok()?);
    Some((registration, value("state")? == "live", heard))
}
