//! The answers to questions about names of a zone.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::HINFO},
};

use super::{Form, PeerRef, QueryName, Zone, ZoneView, records};
use crate::network::{Network, Peer};

/// The maximum number of aliases that are followed, in case they form a loop.
const MAX_ALIASES: usize = 8;

/// The minimum size of an SRV record: a pointer to its owner, ten octets for type,
/// class, TTL and length, six for numbers, and its target.
const MIN_SRV_OCTETS: usize = 20;

/// The extended error for a query for the parameters of a peer by its ID: the client may
/// be a host that is named like an ID, which is never registered.
pub const NO_HOST_NAME: &str = "the name is an ID, not a host name, and cannot be registered";

/// Whether an ID is pinned to the host.
fn is_pinned(network: &Network, peer: &PeerRef) -> bool {
    matches!(peer, PeerRef::Host { host, role: None } if network.pinned(host).is_some())
}

/// The response code and the sections of a response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    /// The additional section, which may be omitted if the message is full.
    pub additional: Vec<Record>,
    /// The text of an extended error (RFC 8914), if the answer needs an explanation.
    pub reason: Option<String>,
}

/// A question about a name of the zone.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub name: &'q QueryName,
    pub rtype: RecordType,
    /// The name in the query, which the answer repeats in its original case.
    pub owner: &'q Name,
    /// The address at which the service was queried.
    pub server: IpAddr,
    /// The maximum size of the message: an answer that would not fit may be incomplete.
    pub max_octets: usize,
}

impl ZoneView {
    /// The answer to a question that registers nothing.
    pub fn answer(&self, question: &Question<'_>) -> Answer {
        let zone = &self.zone;
        let mut answer = self.direct_answer(question);
        // RFC 1034, section 4.3.2, step 3a: an alias is followed within the zone.
        for _ in 0..MAX_ALIASES {
            let target = answer.alias(question.rtype);
            let Some(target) = target.filter(|target| zone.contains(target)) else {
                break;
            };
            let next = Question {
                name: &zone.parse(&target),
                owner: &target,
                ..*question
            };
            let mut next = self.direct_answer(&next);
            next.answers.splice(0..0, answer.answers);
            answer = next;
        }
        answer
    }

    fn direct_answer(&self, question: &Question<'_>) -> Answer {
        let Question { rtype, owner, .. } = *question;
        let (zone, network) = (&self.zone, &*self.network);
        if let Some(records) = zone.static_records.get(owner) {
            return zone.static_answer(network, records, rtype, owner);
        }
        match question.name {
            QueryName::Apex => zone.apex(network, rtype, owner),
            QueryName::NameServer => {
                let data = zone.servers.iter().map(|server| records::address(*server));
                zone.answer_of_type(network, rtype, owner, data.collect())
            }
            QueryName::Service(port) => {
                let max_records = question.max_octets / MIN_SRV_OCTETS + 1;
                let services = zone.services(network, port).take(max_records);
                let (data, targets): (Vec<_>, Vec<_>) = services.unzip();
                let mut answer = zone.answer_of_type(network, rtype, owner, data);
                if !answer.answers.is_empty() {
                    let targets = targets.into_iter().map(|peer: &Peer| {
                        zone.address_record(zone.id_name(peer), peer.holder.address)
                    });
                    answer.additional = targets.collect();
                }
                answer
            }
            QueryName::Peer { peer, form } => match self.lookup_reference(peer) {
                Some(lookup) => self.peer_answer(&lookup, *form, question),
                // The name exists, since an ID is pinned to it, or there are names below.
                None if is_pinned(network, peer) || zone.has_names_below(owner) => {
                    zone.no_data(network)
                }
                None => Answer {
                    reason: matches!(peer, PeerRef::Id(_)).then(|| NO_HOST_NAME.to_owned()),
                    ..zone.nx_domain(network)
                },
            },
            QueryName::Leave(host) if network.host(host).is_some() => zone.no_data(network),
            QueryName::Status | QueryName::Empty => zone.no_data(network),
            _ if zone.has_names_below(owner) => zone.no_data(network),
            QueryName::Leave(_) | QueryName::Unknown => zone.nx_domain(network),
        }
    }
}

impl Zone {
    pub fn soa_answer(&self, network: &Network) -> Answer {
        Answer {
            answers: vec![self.soa(network)],
            ..Answer::empty(ResponseCode::NoError)
        }
    }

    fn apex(&self, network: &Network, rtype: RecordType, owner: &Name) -> Answer {
        match rtype {
            RecordType::SOA => self.positive(owner, 0, vec![self.soa(network).data]),
            RecordType::NS => Answer {
                additional: self.server_addresses(),
                ..self.positive(owner, self.ttl, vec![self.name_server_data()])
            },
            RecordType::TXT => self.positive(owner, self.ttl, vec![self.zone_summary(network)]),
            RecordType::ANY => self.minimal_any(owner),
            _ => self.no_data(network),
        }
    }

    /// The answer from records of the zone's master file. At the origin they complement
    /// those of the service, and their name servers replace its own.
    fn static_answer(
        &self,
        network: &Network,
        records: &[Record],
        rtype: RecordType,
        owner: &Name,
    ) -> Answer {
        for rtype in [rtype, RecordType::CNAME] {
            let mut answer = Answer::default();
            let records = records.iter();
            let records = records.filter(|record| record.record_type() == rtype);
            answer.answers.extend(records.cloned());
            for record in &mut answer.answers {
                record.name = owner.clone();
            }
            if !answer.answers.is_empty() {
                return answer;
            }
        }
        if owner == &self.origin {
            return self.apex(network, rtype, owner);
        }
        match rtype {
            RecordType::ANY => self.minimal_any(owner),
            _ => self.no_data(network),
        }
    }

    /// The data of the type, or NODATA.
    pub(super) fn answer_of_type(
        &self,
        network: &Network,
        rtype: RecordType,
        owner: &Name,
        data: Vec<RData>,
    ) -> Answer {
        if rtype == RecordType::ANY && !data.is_empty() {
            return self.minimal_any(owner);
        }
        let data = data.into_iter();
        let data: Vec<_> = data.filter(|data| data.record_type() == rtype).collect();
        if data.is_empty() {
            self.no_data(network)
        } else {
            self.positive(owner, self.ttl, data)
        }
    }

    pub(super) fn positive(&self, owner: &Name, ttl: u32, data: Vec<RData>) -> Answer {
        let record = |data| Record::from_rdata(owner.clone(), ttl, data);
        Answer {
            answers: data.into_iter().map(record).collect(),
            ..Answer::empty(ResponseCode::NoError)
        }
    }

    /// The answer to a query for ANY (RFC 8482, section 4.2).
    pub(super) fn minimal_any(&self, owner: &Name) -> Answer {
        let data = RData::HINFO(HINFO::new("RFC8482".into(), String::new()));
        self.positive(owner, self.ttl, vec![data])
    }

    pub fn no_data(&self, network: &Network) -> Answer {
        self.negative(network, ResponseCode::NoError)
    }

    pub fn nx_domain(&self, network: &Network) -> Answer {
        self.negative(network, ResponseCode::NXDomain)
    }

    fn negative(&self, network: &Network, code: ResponseCode) -> Answer {
        Answer {
            authority: vec![self.soa(network)],
            ..Answer::empty(code)
        }
    }

    pub(super) fn server_addresses(&self) -> Vec<Record> {
        let servers = self.servers.iter();
        servers
            .map(|server| self.address_record(self.name_server(), *server))
            .collect()
    }

    fn has_names_below(&self, owner: &Name) -> bool {
        self.static_records.has_names_below(owner) || self.name_server().base_name() == *owner
    }

    /// Whether a query for this name and type registers a host or ends its lease.
    pub fn registers(&self, name: &QueryName, rtype: RecordType) -> bool {
        match (name, rtype) {
            (QueryName::Peer { peer, form }, RecordType::TXT | RecordType::SRV) => {
                let is_supported = rtype == RecordType::TXT || *form == Form::Plain;
                matches!(peer, PeerRef::Host { .. }) && is_supported
            }
            (QueryName::Leave(_), RecordType::TXT) => true,
            _ => false,
        }
    }
}

impl Answer {
    /// The alias with which the answer ends instead of a record of the type.
    fn alias(&self, rtype: RecordType) -> Option<Name> {
        match &self.answers.last()?.data {
            RData::CNAME(target) if !matches!(rtype, RecordType::CNAME | RecordType::ANY) => {
                Some(target.0.clone())
            }
            _ => None,
        }
    }

    pub(super) fn error(code: ResponseCode, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..Self::empty(code)
        }
    }

    pub fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }
}
