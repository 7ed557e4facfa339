//! The answer to a question.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::HINFO},
};

use super::{Form, QueryName, Who, Zone, ZoneView, records};
use crate::network::{Network, Peer};

/// How many aliases are followed, should they go round in a circle.
const MOST_ALIASES: usize = 8;

/// What an SRV record takes at the least: a pointer to its owner, ten octets of
/// type, class, TTL and length, six of numbers, and its target.
const LEAST_SERVICE_OCTETS: usize = 20;

/// The extended error for a query that asks for the parameters of a peer by its ID: the
/// client may be a host that is named like an ID, which is never registered.
pub const NO_HOST_NAME: &str = "the name is an ID, not a host name: it registers nobody";

/// Whether an ID is kept for a host of that name.
fn is_awaited(network: &Network, who: &Who) -> bool {
    matches!(who, Who::Host { host, role: None } if network.pinned(host).is_some())
}

/// What goes into a message's sections.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    /// May be left out where there is no room for it.
    pub additional: Vec<Record>,
    /// Why the answer is not what the client may have hoped for: the text of an
    /// extended error (RFC 8914).
    pub reason: Option<String>,
}

/// What is asked for at a name.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'q> {
    pub rtype: RecordType,
    /// The name as it was asked, which the answer repeats.
    pub owner: &'q Name,
    /// The address at which the service was asked.
    pub server: IpAddr,
}

/// A question about a name of the zone.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub name: &'q QueryName,
    pub asked: Asked<'q>,
    /// How many octets the message may have: an answer that has no room anyway
    /// is not made whole.
    pub room: usize,
}

impl ZoneView {
    /// The answer to a question that registers nothing.
    pub fn answer(&self, question: &Question<'_>) -> Answer {
        let zone = &self.zone;
        let mut answer = self.direct_answer(question);
        // RFC 1034, section 4.3.2, step 3a: an alias is followed within the zone.
        for _ in 0..MOST_ALIASES {
            let target = answer.alias(question.asked.rtype);
            let Some(target) = target.filter(|target| zone.contains(target)) else {
                break;
            };
            let next = Question {
                name: &zone.parse(&target),
                asked: Asked {
                    owner: &target,
                    ..question.asked
                },
                ..*question
            };
            let next = self.direct_answer(&next);
            answer.answers.extend(next.answers);
            answer = Answer {
                answers: answer.answers,
                ..next
            };
        }
        answer
    }

    fn direct_answer(&self, question: &Question<'_>) -> Answer {
        let Question { name, asked, room } = *question;
        let Asked { rtype, owner, .. } = asked;
        let (zone, network) = (&self.zone, &*self.network);
        if let Some(records) = zone.further.at(owner) {
            return zone.further_answer(network, records, rtype, owner);
        }
        match name {
            QueryName::Apex => zone.apex(network, rtype, owner),
            QueryName::NameServer => {
                let data = zone.servers.iter().map(|server| records::address(*server));
                zone.of_type(network, rtype, owner, data.collect())
            }
            QueryName::Service(port) => {
                let most = room / LEAST_SERVICE_OCTETS + 1;
                let services = zone.services(network, port).take(most);
                let (data, targets): (Vec<_>, Vec<_>) = services.unzip();
                let mut answer = zone.of_type(network, rtype, owner, data);
                if !answer.answers.is_empty() {
                    answer.additional = zone.target_addresses(targets);
                }
                answer
            }
            QueryName::Peer { who, form } => match self.registered(who) {
                Some(found) => self.peer_answer(&found, *form, &asked),
                None if zone.has_names_below(owner) => zone.no_data(network),
                // An ID is kept for it: the name is there.
                None if is_awaited(network, who) => zone.no_data(network),
                None => Answer {
                    reason: matches!(who, Who::Id(_)).then(|| NO_HOST_NAME.to_owned()),
                    ..zone.nx_domain(network)
                },
            },
            QueryName::Leave(host) if network.host(host).is_some() => zone.no_data(network),
            QueryName::Status | QueryName::Empty => zone.no_data(network),
            QueryName::Leave(_) | QueryName::Unknown if zone.has_names_below(owner) => {
                zone.no_data(network)
            }
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
            RecordType::SOA => {
                let mut answer = self.soa_answer(network);
                for soa in &mut answer.answers {
                    soa.name = owner.clone();
                }
                answer
            }
            RecordType::NS => Answer {
                additional: self.server_addresses(),
                ..self.of_type(network, rtype, owner, self.name_server_records())
            },
            RecordType::TXT => self.positive(owner, self.ttl, vec![self.zone_summary(network)]),
            RecordType::ANY => self.positive(owner, self.ttl, vec![minimal()]),
            _ => self.no_data(network),
        }
    }

    /// Records of the zone file's master file. At the origin they stand beside
    /// those of the service, and their name servers replace it.
    fn further_answer(
        &self,
        network: &Network,
        records: &[Record],
        rtype: RecordType,
        owner: &Name,
    ) -> Answer {
        let of_type = |rtype| {
            let records = records
                .iter()
                .filter(move |record| record.record_type() == rtype);
            let renamed = records.map(|record| {
                let mut record = record.clone();
                record.name = owner.clone();
                record
            });
            renamed.collect::<Vec<_>>()
        };
        let mut answers = of_type(rtype);
        if answers.is_empty() {
            answers = of_type(RecordType::CNAME);
        }
        if !answers.is_empty() {
            let answer = Answer::empty(ResponseCode::NoError);
            return Answer { answers, ..answer };
        }
        if owner == &self.origin {
            return self.apex(network, rtype, owner);
        }
        match rtype {
            RecordType::ANY => self.positive(owner, self.ttl, vec![minimal()]),
            _ => self.no_data(network),
        }
    }

    /// Those of the data that have the type asked for, or NODATA.
    pub(super) fn of_type(
        &self,
        network: &Network,
        rtype: RecordType,
        owner: &Name,
        data: Vec<RData>,
    ) -> Answer {
        if rtype == RecordType::ANY && !data.is_empty() {
            return self.positive(owner, self.ttl, vec![minimal()]);
        }
        let data: Vec<_> = data
            .into_iter()
            .filter(|data| data.record_type() == rtype)
            .collect();
        match data.is_empty() {
            true => self.no_data(network),
            false => self.positive(owner, self.ttl, data),
        }
    }

    pub(super) fn positive(&self, owner: &Name, ttl: u32, data: Vec<RData>) -> Answer {
        let record = |data| Record::from_rdata(owner.clone(), ttl, data);
        Answer {
            answers: data.into_iter().map(record).collect(),
            ..Answer::empty(ResponseCode::NoError)
        }
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

    pub(super) fn target_addresses(&self, peers: Vec<&Peer>) -> Vec<Record> {
        let address = |peer: &Peer| {
            let data = records::address(peer.holder.address);
            Record::from_rdata(self.id_name(peer), self.ttl, data)
        };
        peers.into_iter().map(address).collect()
    }

    pub(super) fn server_addresses(&self) -> Vec<Record> {
        let address = |server: &_| {
            Record::from_rdata(self.name_server(), self.ttl, records::address(*server))
        };
        self.servers.iter().map(address).collect()
    }

    fn has_names_below(&self, owner: &Name) -> bool {
        self.further.has_names_below(owner) || self.name_server().base_name() == *owner
    }

    /// Whether a query for this name and type may register.
    pub fn registers(&self, name: &QueryName, rtype: RecordType) -> bool {
        match name {
            QueryName::Peer {
                who: Who::Host { .. },
                form: Form::Plain,
            } => matches!(rtype, RecordType::TXT | RecordType::SRV),
            QueryName::Peer {
                who: Who::Host { .. },
                form: Form::Environment,
            }
            | QueryName::Leave(_) => rtype == RecordType::TXT,
            _ => false,
        }
    }
}

impl Answer {
    /// The name that the answer ends with instead of what was asked for.
    fn alias(&self, rtype: RecordType) -> Option<Name> {
        match &self.answers.last()?.data {
            RData::CNAME(target) if !matches!(rtype, RecordType::CNAME | RecordType::ANY) => {
                Some(target.0.clone())
            }
            _ => None,
        }
    }

    pub fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            reason: None,
        }
    }
}

/// What a query for ANY is given (RFC 8482, section 4.2).
pub(super) fn minimal() -> RData {
    RData::HINFO(HINFO::new("RFC8482".into(), String::new()))
}
