//! Dynamic updates (RFC 2136): the changes that an administrator can make to a zone, and
//! their prerequisites.
//!
//! A zone consists of registrations, so only few changes of its records are possible:
//! deleting the name of a host releases its ID, and adding `id=vp2` pins the ID.

use std::sync::Arc;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use super::{Form, PeerRef, QueryName, Question, Zone, ZoneView, records};
use crate::network::{Change, Hostname, Network, PeerId};

/// A well-formed update. Whether it can be applied depends on the network.
#[derive(Debug, Clone)]
pub struct Update {
    prerequisites: Vec<Prerequisite>,
    edits: Vec<Edit>,
    /// The sections from which it was parsed, for other replicas.
    prerequisite_section: Vec<Record>,
    update_section: Vec<Record>,
}

/// A prerequisite (RFC 2136, section 2.4) for the RRset of the type, or for the name if the
/// type is ANY.
#[derive(Debug, Clone)]
struct Prerequisite {
    name: Name,
    rtype: RecordType,
    condition: Condition,
}

#[derive(Debug, Clone)]
enum Condition {
    Exists,
    Missing,
    /// The RRset exists with exactly this data.
    Equals(Vec<RData>),
}

#[derive(Debug, Clone)]
enum Edit {
    Release(PeerRef),
    Pin(Hostname, PeerId),
    Unpin(Hostname, PeerId),
}

/// Why an update is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct UpdateRefusal {
    pub code: ResponseCode,
    pub text: String,
}

fn refusal(code: ResponseCode, text: impl Into<String>) -> UpdateRefusal {
    UpdateRefusal {
        code,
        text: text.into(),
    }
}

/// The reason why a change is refused.
const SUPPORTED: &str =
    "an update can only delete the name of a host, or add or delete its TXT \"id=…\"";

impl Zone {
    /// Parses an update: its prerequisites and its changes.
    ///
    /// # Errors
    ///
    /// FORMERR, NOTZONE or REFUSED, according to RFC 2136, sections 3.2 and 3.4.1; REFUSED
    /// also for well-formed changes that are not supported.
    pub fn update(
        &self,
        prerequisites: &[Record],
        updates: &[Record],
    ) -> Result<Update, UpdateRefusal> {
        let mut parsed = Vec::new();
        for record in prerequisites {
            self.add_prerequisite(record, &mut parsed)?;
        }
        // The syntax of all records is checked before any is processed.
        for record in updates {
            self.check_syntax(record)?;
        }
        let edits = updates.iter().filter_map(|record| self.edit(record));
        let edits = edits.collect::<Result<_, _>>()?;
        Ok(Update {
            prerequisites: parsed,
            edits,
            prerequisite_section: prerequisites.to_vec(),
            update_section: updates.to_vec(),
        })
    }

    fn add_prerequisite(
        &self,
        record: &Record,
        prerequisites: &mut Vec<Prerequisite>,
    ) -> Result<(), UpdateRefusal> {
        let malformed = |text: &str| Err(refusal(ResponseCode::FormErr, text));
        if record.ttl != 0 {
            return malformed("a prerequisite must have the TTL 0");
        }
        self.check_name(&record.name)?;
        let (name, rtype) = (&record.name, record.record_type());
        let condition = match record.dns_class {
            DNSClass::ANY => Condition::Exists,
            DNSClass::NONE => Condition::Missing,
            DNSClass::IN => {
                // RFC 2136, section 3.2.3: records of one name and type form an RRset.
                for other in prerequisites.iter_mut() {
                    if let Condition::Equals(rrset) = &mut other.condition
                        && (&other.name, other.rtype) == (name, rtype)
                    {
                        rrset.push(record.data.clone());
                        return Ok(());
                    }
                }
                Condition::Equals(vec![record.data.clone()])
            }
            _ => return malformed("a prerequisite must have the class IN, ANY or NONE"),
        };
        if !matches!(condition, Condition::Equals(_)) && !is_empty(record) {
            return malformed("a prerequisite of class ANY or NONE must have no data");
        }
        prerequisites.push(Prerequisite {
            name: name.clone(),
            rtype,
            condition,
        });
        Ok(())
    }

    /// Checks a record of the update section (RFC 2136, section 3.4.1).
    fn check_syntax(&self, record: &Record) -> Result<(), UpdateRefusal> {
        self.check_name(&record.name)?;
        let rtype = record.record_type();
        let is_any = rtype == RecordType::ANY;
        let is_meta = matches!(
            rtype,
            RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG
        ) || matches!(u16::from(rtype), 253 | 254);
        let well_formed = match record.dns_class {
            DNSClass::IN => !is_any && !is_meta && !is_empty(record),
            DNSClass::ANY => record.ttl == 0 && is_empty(record) && !is_meta,
            DNSClass::NONE => record.ttl == 0 && !is_any && !is_meta,
            _ => false,
        };
        if !well_formed {
            let text = format!("the update record of {} is malformed", record.name);
            return Err(refusal(ResponseCode::FormErr, text));
        }
        Ok(())
    }

    fn check_name(&self, name: &Name) -> Result<(), UpdateRefusal> {
        if !self.contains(name) {
            let text = format!("{name} is not in the zone");
            return Err(refusal(ResponseCode::NotZone, text));
        }
        Ok(())
    }

    /// The change that a record of the update section requests; `None` if it has no
    /// effect on any network.
    fn edit(&self, record: &Record) -> Option<Result<Edit, UpdateRefusal>> {
        let refused = || Some(Err(refusal(ResponseCode::Refused, SUPPORTED)));
        let is_delete = record.dns_class != DNSClass::IN;
        let peer = match self.parse(&record.name) {
            QueryName::Peer {
                peer: peer @ (PeerRef::Host { role: None, .. } | PeerRef::Id(_)),
                form: Form::Plain,
            } => peer,
            // To delete a name that does not exist is not an error.
            QueryName::Unknown if is_delete && self.static_records.get(&record.name).is_none() => {
                return None;
            }
            _ => return refused(),
        };
        if record.dns_class == DNSClass::ANY && record.record_type() == RecordType::ANY {
            return Some(Ok(Edit::Release(peer)));
        }
        let (PeerRef::Host { host, .. }, Some(id)) = (peer, self.parse_pin(&record.data)) else {
            return refused();
        };
        Some(Ok(match record.dns_class {
            DNSClass::IN => Edit::Pin(host, id),
            DNSClass::NONE => Edit::Unpin(host, id),
            _ => return refused(),
        }))
    }

    /// The record of a host with a pin that is not registered.
    pub(super) fn pin_record(&self, host: &Hostname, id: PeerId) -> Record {
        let text = format!("id={}", self.rules.id_text(id));
        let data = records::text(vec![text]);
        Record::from_rdata(self.name(&[host.as_str()]), 0, data)
    }

    /// Parses a TXT record `id=vp2`.
    fn parse_pin(&self, data: &RData) -> Option<PeerId> {
        let RData::TXT(txt) = data else { return None };
        let [text] = &*txt.txt_data else { return None };
        let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
        self.rules.id_named(text.strip_prefix("id=")?)
    }

    /// Applies an update if its prerequisites are satisfied. After an error, the caller
    /// must discard the network and the changes.
    pub fn apply(
        self: &Arc<Self>,
        update: &Update,
        network: &mut Network,
        changes: &mut Vec<Change>,
    ) -> Result<(), UpdateRefusal> {
        let view = ZoneView::new(self.clone(), Arc::new(network.clone()));
        for prerequisite in &update.prerequisites {
            view.check(prerequisite)?;
        }
        for edit in &update.edits {
            match edit {
                Edit::Release(peer) => {
                    let host = match peer {
                        PeerRef::Host { host, .. } => Some(host.clone()),
                        PeerRef::Id(id) => network.holder_of(*id).cloned(),
                    };
                    if let Some(host) = host {
                        network.release(&host, changes);
                    }
                }
                Edit::Pin(host, id) => network
                    .pin(host, *id, changes)
                    .map_err(|error| refusal(ResponseCode::Refused, error.to_string()))?,
                Edit::Unpin(host, id) => {
                    if network.pinned(host) == Some(*id) {
                        network.unpin(host, changes);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Update {
    /// The update in wire format, for another replica; empty if it cannot be encoded.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut message = Message::new(0, MessageType::Query, OpCode::Update);
        message.insert_answers(self.prerequisite_section.clone());
        message.insert_authorities(self.update_section.clone());
        message.to_vec().unwrap_or_default()
    }

    /// Parses what [`to_bytes`](Self::to_bytes) has written.
    pub fn from_bytes(zone: &Zone, bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        zone.update(&message.answers, &message.authorities).ok()
    }
}

impl ZoneView {
    fn check(&self, prerequisite: &Prerequisite) -> Result<(), UpdateRefusal> {
        let Prerequisite { name, rtype, .. } = prerequisite;
        let current = self.records_at(name, *rtype);
        let (is_satisfied, code) = match (&prerequisite.condition, rtype) {
            (Condition::Exists, RecordType::ANY) => (!current.is_empty(), ResponseCode::NXDomain),
            (Condition::Exists, _) => (!current.is_empty(), ResponseCode::NXRRSet),
            (Condition::Missing, RecordType::ANY) => (current.is_empty(), ResponseCode::YXDomain),
            (Condition::Missing, _) => (current.is_empty(), ResponseCode::YXRRSet),
            (Condition::Equals(data), _) => {
                let equal = current.iter().all(|record| data.contains(record))
                    && data.iter().all(|record| current.contains(record));
                (equal, ResponseCode::NXRRSet)
            }
        };
        if !is_satisfied {
            let text = format!("a prerequisite for {name} is not satisfied");
            return Err(refusal(code, text));
        }
        Ok(())
    }

    /// The data of the records at a name, of one type or of all (`ANY`).
    fn records_at(&self, name: &Name, rtype: RecordType) -> Vec<RData> {
        let question = Question {
            name: &self.zone.parse(name),
            rtype,
            owner: name,
            server: self.zone.server(),
            max_octets: usize::from(u16::MAX),
        };
        let mut answers = self.answer(&question).answers;
        if let QueryName::Peer {
            peer: PeerRef::Host { host, role: None },
            form: Form::Plain,
        } = question.name
            && let Some(id) = self.network.pinned(host).filter(|_| answers.is_empty())
        {
            answers.push(self.zone.pin_record(host, id));
        }
        answers
            .into_iter()
            .filter(|record| record.name == *name)
            .map(|record| record.data)
            .filter(|data| rtype == RecordType::ANY || data.record_type() == rtype)
            .collect()
    }
}

/// Whether a record has no data, which is valid in updates only.
fn is_empty(record: &Record) -> bool {
    matches!(record.data, RData::Update0(_))
}
