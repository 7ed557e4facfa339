//! The whole zone as a stream of records: for transfers and dumps.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    ProtoError,
    rr::{Name, RData, Record, RecordType},
};

use super::{
    RecordSets, Zone, ZoneView,
    name::{STATUS, is_word},
    records,
};
use crate::{
    network::{Hostname, Network, Peer, PeerId, Time},
    store::{Pin, Registration},
};

/// A part of the content of a zone.
pub enum ZonePart<'n> {
    Record(Box<Record>),
    /// The records at the two names of a peer: its host name and its ID.
    Peer(&'n Peer),
}

impl Zone {
    /// All records of the zone, the SOA first (and not again at the end).
    ///
    /// The names that only serve to register (`HOST.ROLE` and `_leave.HOST`) are omitted.
    /// Every other name has the records that a query for it returns.
    pub fn content<'a>(
        self: &'a Arc<Self>,
        network: &'a Arc<Network>,
    ) -> impl Iterator<Item = Record> + 'a {
        let view = ZoneView::new(self.clone(), network.clone());
        let mut sets = RecordSets::default();
        self.parts(network).flat_map(move |part| match part {
            ZonePart::Record(record) => vec![*record],
            ZonePart::Peer(peer) => view.records_of(peer, &mut sets),
        })
    }

    /// Like [`content`](Self::content), without encoding the peers, since there may be
    /// very many.
    pub fn parts<'a>(&'a self, network: &'a Network) -> impl Iterator<Item = ZonePart<'a>> + 'a {
        let at_origin = self.static_records.get(&self.origin).unwrap_or_default();
        let is_server = |record: &Record| record.record_type() == RecordType::NS;
        let record = |data| Record::from_rdata(self.origin.clone(), self.ttl, data);
        let mut head = vec![self.soa(network)];
        if !at_origin.iter().any(is_server) {
            head.push(record(self.name_server_data()));
        }
        head.push(record(self.zone_summary(network)));
        head.extend(self.server_addresses());
        head.extend(self.static_records.iter().cloned());
        let services = self.ports.keys().flat_map(move |port| {
            let owner = self.name(&[&format!("_{port}"), "_tcp"]);
            self.services(network, port)
                .map(move |(data, _)| Record::from_rdata(owner.clone(), self.ttl, data))
        });
        let peers = network.peers().map(|peer| ZonePart::Peer(peer));
        let pins = self.unregistered_pins(network);
        let pins = pins.map(move |(host, id)| self.pin_record(host, id));
        let head = head.into_iter().chain(services);
        let head = head.map(|record| ZonePart::Record(record.into()));
        let pins = pins.map(|record| ZonePart::Record(record.into()));
        head.chain(peers).chain(pins)
    }

    /// The pins of hosts that are not registered.
    fn unregistered_pins<'a>(
        &'a self,
        network: &'a Network,
    ) -> impl Iterator<Item = (&'a Hostname, PeerId)> + 'a {
        network
            .pins()
            .filter(|(host, _)| network.host(host).is_none())
    }

    /// The zone below `_peers`: one TXT record for each peer, at its host name, with its
    /// registration and its state. It is not a part of the zone itself, since `heard=`,
    /// the seconds since the peer was last heard, changes with each heartbeat; the
    /// serial is that of the zone.
    pub fn status<'a>(
        &'a self,
        network: &'a Network,
        now: Time,
    ) -> impl Iterator<Item = Record> + 'a {
        let origin = self.name(&[STATUS]);
        let mut soa = self.soa(network);
        soa.name = origin.clone();
        let server = Record::from_rdata(origin, 0, self.name_server_data());
        let record = move |host: &Hostname, id: PeerId, state: Vec<String>| {
            let mut strings = vec![
                format!("sequence={}", self.rules.sequence(id.sequence).name),
                format!("number={}", id.number),
            ];
            strings.extend(state);
            if network.pinned(host).is_some() {
                strings.push(PINNED.to_owned());
            }
            let name = self.name(&[host.as_str(), STATUS]);
            Record::from_rdata(name, 0, records::text(strings))
        };
        let peers = network.peers().map(move |peer| {
            let is_live = network.is_live(peer.id);
            let since_heard = now.0.saturating_sub(peer.lease.last_heard().0);
            let state = vec![
                format!("role={}", self.rules.role(peer.role).name),
                format!("source={}", peer.holder.source),
                format!("address={}", peer.holder.address),
                format!("state={}", if is_live { "live" } else { "gone" }),
                format!("heard={}", Duration::from_millis(since_heard).as_secs()),
                format!("epoch={}", peer.epoch),
            ];
            record(&peer.host, peer.id, state)
        });
        let pins = self.unregistered_pins(network);
        let pins = pins.map(move |(host, id)| record(host, id, Vec::new()));
        [soa, server].into_iter().chain(peers).chain(pins)
    }
}

/// The string in the status of a host whose ID is pinned.
const PINNED: &str = "pinned=yes";

/// The status of a host, from a record of the zone below `_peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub pin: Option<Pin>,
    /// `None` if the host is not registered, and only has a pin.
    pub peer: Option<PeerState>,
}

/// The registration and the state of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    pub registration: Registration,
    pub is_live: bool,
    /// The time since the peer was last heard.
    pub since_heard: Duration,
}

/// The origin of the zone that contains the status of all peers of a zone.
pub fn status_origin(origin: &Name) -> Result<Name, ProtoError> {
    origin.prepend_label(STATUS)
}

/// Parses a TXT record of the zone below `_peers`.
pub fn parse_status(record: &Record) -> Option<Status> {
    let RData::TXT(txt) = &record.data else {
        return None;
    };
    let value = |key: &str| {
        txt.txt_data.iter().find_map(|string| {
            let string = std::str::from_utf8(string).ok()?;
            string.strip_prefix(key)?.strip_prefix('=')
        })
    };
    // The server is not trusted: its data is checked.
    let host = Hostname::from_label(record.name.iter().next()?).ok()?;
    let host = host.as_str();
    let word = |key| value(key).filter(|word| is_word(word));
    let sequence = word("sequence")?;
    let number = value("number")?.parse().ok()?;
    let mut strings = txt.txt_data.iter();
    let is_pinned = strings.any(|string| **string == *PINNED.as_bytes());
    let pin = is_pinned.then(|| Pin {
        host: host.to_owned(),
        sequence: sequence.to_owned(),
        number,
    });
    let Some(role) = word("role") else {
        return Some(Status { pin, peer: None });
    };
    let address = |key| value(key)?.parse::<IpAddr>().ok();
    let registration = Registration {
        host: host.to_owned(),
        sequence: sequence.to_owned(),
        number,
        role: role.to_owned(),
        source: address("source")?,
        address: address("address")?,
        epoch: value("epoch")?.parse().ok()?,
    };
    let peer = Some(PeerState {
        registration,
        is_live: value("state")? == "live",
        since_heard: Duration::from_secs(value("heard")?.parse().ok()?),
    });
    Some(Status { pin, peer })
}
