//! The whole zone as a stream of records: for transfers and dumps.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    ProtoError,
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};

use super::{RecordSets, Zone, ZoneView, name::STATUS};
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
        let own_servers = self
            .static_records
            .get(&self.origin)
            .is_some_and(|records| {
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
            let last_heard = peer.lease.last_heard();
            let since_heard = Duration::from_millis(now.0.saturating_sub(last_heard.0));
            let rule = self.rules.sequence(peer.id.sequence);
            let mut strings = vec![
                format!("sequence={}", rule.name),
                format!("number={}", peer.id.number),
                format!("role={}", self.rules.role(peer.role).name),
                format!("source={}", peer.holder.source),
                format!("address={}", peer.holder.address),
                format!("state={state}"),
                format!("heard={}", since_heard.as_secs()),
                format!("epoch={}", peer.epoch),
            ];
            if network.pinned(&peer.host).is_some() {
                strings.push(PINNED.to_owned());
            }
            let name = self.name(&[peer.host.as_str(), STATUS]);
            Record::from_rdata(name, 0, RData::TXT(TXT::new(strings)))
        });
        let pins = self.unregistered_pins(network).map(move |(host, id)| {
            let strings = vec![
                format!("sequence={}", self.rules.sequence(id.sequence).name),
                format!("number={}", id.number),
                PINNED.to_owned(),
            ];
            let name = self.name(&[host.as_str(), STATUS]);
            Record::from_rdata(name, 0, RData::TXT(TXT::new(strings)))
        });
        std::iter::once(soa).chain(servers).chain(peers).chain(pins)
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

/// Whether a text can be the name of a sequence or a role.
fn is_word(text: &str) -> bool {
    let is_word_byte = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(is_word_byte)
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
    let is_pinned = txt
        .txt_data
        .iter()
        .any(|string| **string == *PINNED.as_bytes());
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
