//! Dynamic updates (RFC 2136): what an administrator may change of a zone, and
//! on what conditions.
//!
//! A zone is made of registrations, so little can be changed by its records:
//! a host's name is deleted to release its ID, and `id=vp2` is added to pin it.

use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::TXT},
};

use super::{Asked, Form, QueryName, Question, Who, Zone, ZoneView};
use crate::network::{Change, Hostname, Network, PeerId};

/// An update that is well-formed. Whether it may be made depends on the network.
#[derive(Debug, Clone)]
pub struct Update {
    conditions: Vec<Condition>,
    edits: Vec<Edit>,
}

/// A prerequisite (RFC 2136, section 2.4).
#[derive(Debug, Clone)]
enum Condition {
    /// There is something at the name, or there is not.
    Name { name: Name, is_used: bool },
    /// There are records of the type, or there are not.
    Set {
        name: Name,
        rtype: RecordType,
        is_there: bool,
    },
    /// The records of the type are just these.
    Equal {
        name: Name,
        rtype: RecordType,
        data: Vec<RData>,
    },
}

#[derive(Debug, Clone)]
enum Edit {
    Release(Who),
    Pin(Hostname, PeerId),
    Unpin(Hostname, PeerId),
}

/// Why an update is not made.
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

/// What may be done by an update, for those who try something else.
const POSSIBLE: &str = "an update deletes a host's name, or adds or deletes its TXT \"id=…\"";

impl Zone {
    /// Reads an update: its prerequisites and its changes.
    ///
    /// # Errors
    ///
    /// FORMERR, NOTZONE or REFUSED, as RFC 2136, sections 3.2 and 3.4.1, says;
    /// REFUSED also for what is well-formed and not possible here.
    pub fn update(
        &self,
        prerequisites: &[Record],
        updates: &[Record],
    ) -> Result<Update, UpdateRefusal> {
        let mut conditions = Vec::new();
        for record in prerequisites {
            self.condition(record, &mut conditions)?;
        }
        // The form of all of them, before anything is said of one.
        for record in updates {
            self.check_form(record)?;
        }
        let edits = updates.iter().filter_map(|record| self.edit(record));
        let edits = edits.collect::<Result<_, _>>()?;
        Ok(Update { conditions, edits })
    }

    fn condition(
        &self,
        record: &Record,
        conditions: &mut Vec<Condition>,
    ) -> Result<(), UpdateRefusal> {
        let malformed = |text: &str| refusal(ResponseCode::FormErr, text);
        if record.ttl != 0 {
            return Err(malformed("a prerequisite has the TTL 0"));
        }
        self.check_name(&record.name)?;
        let name = record.name.clone();
        let rtype = record.record_type();
        let is_there = match record.dns_class {
            DNSClass::ANY => true,
            DNSClass::NONE => false,
            DNSClass::IN => {
                // RFC 2136, section 3.2.3: those of one name and type together.
                let data = record.data.clone();
                for condition in conditions.iter_mut() {
                    if let Condition::Equal {
                        name: other,
                        rtype: same,
                        data: all,
                    } = condition
                        && *other == name
                        && *same == rtype
                    {
                        all.push(data);
                        return Ok(());
                    }
                }
                let data = vec![data];
                conditions.push(Condition::Equal { name, rtype, data });
                return Ok(());
            }
            _ => return Err(malformed("a prerequisite has the class IN, ANY or NONE")),
        };
        if !is_empty(record) {
            return Err(malformed("a prerequisite of class ANY or NONE has no data"));
        }
        conditions.push(match rtype {
            RecordType::ANY => Condition::Name {
                name,
                is_used: is_there,
            },
            rtype => Condition::Set {
                name,
                rtype,
                is_there,
            },
        });
        Ok(())
    }

    /// RFC 2136, section 3.4.1.
    fn check_form(&self, record: &Record) -> Result<(), UpdateRefusal> {
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
        match well_formed {
            true => Ok(()),
            false => Err(refusal(
                ResponseCode::FormErr,
                "an update has a record that no update may have",
            )),
        }
    }

    fn check_name(&self, name: &Name) -> Result<(), UpdateRefusal> {
        match self.contains(name) {
            true => Ok(()),
            false => Err(refusal(
                ResponseCode::NotZone,
                format!("{name} is not in the zone"),
            )),
        }
    }

    /// What a record of the update section stands for; `None` for what changes
    /// nothing, whatever there is.
    fn edit(&self, record: &Record) -> Option<Result<Edit, UpdateRefusal>> {
        let refused = || Some(Err(refusal(ResponseCode::Refused, POSSIBLE)));
        let is_delete = record.dns_class != DNSClass::IN;
        let who = match self.parse(&record.name) {
            QueryName::Peer {
                who: who @ (Who::Host { role: None, .. } | Who::Id(_)),
                form: Form::Plain,
            } => who,
            // There is nothing to be deleted there, which is no error.
            QueryName::Unknown if is_delete && self.further.at(&record.name).is_none() => {
                return None;
            }
            _ => return refused(),
        };
        if record.dns_class == DNSClass::ANY && record.record_type() == RecordType::ANY {
            return Some(Ok(Edit::Release(who)));
        }
        let Who::Host { host, .. } = who else {
            return refused();
        };
        let Some(id) = self.pinned_by(&record.data) else {
            return refused();
        };
        Some(Ok(match record.dns_class {
            DNSClass::IN => Edit::Pin(host, id),
            DNSClass::NONE => Edit::Unpin(host, id),
            _ => return refused(),
        }))
    }

    /// What stands for a host for which an ID is kept until it asks for it.
    pub(super) fn pin_record(&self, host: &Hostname, id: PeerId) -> Record {
        let text = format!("id={}", self.rules.id_text(id));
        let data = RData::TXT(TXT::new(vec![text]));
        Record::from_rdata(self.name(&[host.as_str()]), 0, data)
    }

    /// The ID of a TXT record `id=vp2`.
    fn pinned_by(&self, data: &RData) -> Option<PeerId> {
        let RData::TXT(txt) = data else { return None };
        let [text] = &*txt.txt_data else { return None };
        let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
        self.rules.id_named(text.strip_prefix("id=")?)
    }

    /// Makes an update if its prerequisites hold. After an error the network
    /// and the changes are to be thrown away.
    pub fn apply(
        self: &Arc<Self>,
        update: &Update,
        network: &mut Network,
        changes: &mut Vec<Change>,
    ) -> Result<(), UpdateRefusal> {
        let view = ZoneView::new(self.clone(), Arc::new(network.clone()));
        for condition in &update.conditions {
            view.check(condition)?;
        }
        for edit in &update.edits {
            match edit {
                Edit::Release(who) => {
                    let host = match who {
                        Who::Host { host, .. } => Some(host.clone()),
                        Who::Id(id) => network.holder_of(*id).cloned(),
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

impl ZoneView {
    fn check(&self, condition: &Condition) -> Result<(), UpdateRefusal> {
        let (holds, code, name) = match condition {
            Condition::Name { name, is_used } => {
                let used = !self.records_at(name, RecordType::ANY).is_empty();
                let code = match is_used {
                    true => ResponseCode::NXDomain,
                    false => ResponseCode::YXDomain,
                };
                (used == *is_used, code, name)
            }
            Condition::Set {
                name,
                rtype,
                is_there,
            } => {
                let there = !self.records_at(name, *rtype).is_empty();
                let code = match is_there {
                    true => ResponseCode::NXRRSet,
                    false => ResponseCode::YXRRSet,
                };
                (there == *is_there, code, name)
            }
            Condition::Equal { name, rtype, data } => {
                let there = self.records_at(name, *rtype);
                let equal = there.iter().all(|record| data.contains(record))
                    && data.iter().all(|record| there.contains(record));
                (equal, ResponseCode::NXRRSet, name)
            }
        };
        match holds {
            true => Ok(()),
            false => Err(refusal(
                code,
                format!("a prerequisite of {name} does not hold"),
            )),
        }
    }

    /// The data of a type at a name, or of any type.
    fn records_at(&self, name: &Name, rtype: RecordType) -> Vec<RData> {
        let question = Question {
            name: &self.zone.parse(name),
            asked: Asked {
                rtype,
                owner: name,
                server: self.zone.server(),
            },
            room: usize::from(u16::MAX),
        };
        let mut answers = self.answer(&question).answers;
        if let QueryName::Peer {
            who: Who::Host { host, role: None },
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

/// Whether a record has no data, as those of an update may.
fn is_empty(record: &Record) -> bool {
    matches!(record.data, RData::Update0(_))
}
