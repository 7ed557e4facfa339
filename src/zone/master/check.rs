//! Checks the records of a master file together, and in their zone. Each mistake is
//! reported with the line of a record.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{LowerName, Name, RData, RecordType};

use super::{line, reader::LocatedRecord};
use crate::{
    settings::Problem,
    zone::{Form, PeerRef, QueryName, StaticRecords, Zone},
};

/// The maximum size of an RRset: an answer contains all of it, in a message of 65,535
/// octets, besides the header, the question, OPT and TSIG.
const MAX_RRSET_OCTETS: usize = 65_000;

/// The size of a record in a message besides its RDATA: a pointer to its name, type,
/// class, TTL and length.
const RECORD_OCTETS: usize = 12;

/// Checks the records, and removes duplicates.
pub(super) fn records(
    read: Vec<LocatedRecord>,
    zone: &Zone,
) -> Result<StaticRecords, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut by_name: BTreeMap<LowerName, Vec<LocatedRecord>> = BTreeMap::new();
    for located in read {
        let name = LowerName::new(&located.record.name);
        by_name.entry(name).or_default().push(located);
    }
    for records in by_name.values_mut() {
        match records.iter().find_map(|located| refusal(located, zone)) {
            Some(problem) => problems.push(problem),
            None => problems.extend(conflict(records)),
        }
        remove_duplicates(records);
        problems.extend(oversized_rrset(records));
    }
    if problems.is_empty() {
        problems.extend(name_server_without_address(&by_name, zone));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut empty_non_terminals = BTreeSet::new();
    for name in by_name.keys() {
        let mut name = Name::from(name).base_name();
        while zone.contains(&name) && name != zone.origin {
            empty_non_terminals.insert(LowerName::new(&name));
            name = name.base_name();
        }
    }
    let record = |located: LocatedRecord| located.record;
    let by_name = by_name.into_iter();
    let by_name = by_name.map(|(name, read)| (name, read.into_iter().map(record).collect()));
    Ok(StaticRecords {
        by_name: by_name.collect(),
        empty_non_terminals,
    })
}

impl LocatedRecord {
    fn rtype(&self) -> RecordType {
        self.record.record_type()
    }

    fn problem(&self, message: String) -> Problem {
        let message = format!("{} {message}", line::name(&self.record.name));
        Problem::new(&self.path, Some(self.line), message)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }
}

/// The reason why a record is not allowed in the master file.
fn refusal(located: &LocatedRecord, zone: &Zone) -> Option<Problem> {
    let name = &located.record.name;
    let rtype = located.rtype();
    let is_origin = *name == zone.origin;
    let message = if !zone.contains(name) {
        format!("is not below the origin {zone}: remove it")
    } else if name.is_wildcard() {
        "is a wildcard, which would match hosts that are not registered: remove it".into()
    } else if is_origin && matches!(rtype, RecordType::TXT | RecordType::CNAME) {
        "has a record at the origin that would hide the service's own: remove it".into()
    } else if !is_origin && rtype == RecordType::NS {
        "is delegated, which the service does not support: remove the NS record".into()
    } else if !is_origin && !is_free(name, zone) {
        "is reserved for peers: choose another name".into()
    } else {
        return None;
    };
    Some(located.problem(message))
}

/// Whether the name is not reserved by the service.
fn is_free(name: &Name, zone: &Zone) -> bool {
    let first = name.iter().next().unwrap_or_default();
    match zone.parse(name) {
        QueryName::Unknown => !zone.rules.is_id_shaped(first),
        QueryName::Peer { peer, form } => {
            form == Form::Plain && matches!(peer, PeerRef::Host { role: None, .. })
        }
        _ => false,
    }
}

/// The first conflict between records of one name.
fn conflict(records: &[LocatedRecord]) -> Option<Problem> {
    let mut first_of_type: BTreeMap<RecordType, &LocatedRecord> = BTreeMap::new();
    for located in records {
        let rtype = located.rtype();
        let other = match rtype {
            RecordType::CNAME => first_of_type
                .values()
                .find(|other| other.rtype() != rtype || other.canonical != located.canonical),
            _ => first_of_type.get(&RecordType::CNAME),
        };
        if let Some(other) = other {
            return Some(located.problem(format!(
                "has a CNAME and other records (RFC 1034, section 3.6.2): remove this one or the \
                 one at {}",
                other.place()
            )));
        }
        let first = first_of_type.entry(rtype).or_insert(located);
        let (ttl, first_ttl) = (located.record.ttl, first.record.ttl);
        if ttl != first_ttl {
            let rtype = line::mnemonic(rtype);
            return Some(located.problem(format!(
                "has {rtype} records with different TTLs, {ttl} here and {first_ttl} at {}: use \
                 one TTL (RFC 2181, section 5.2)",
                first.place()
            )));
        }
    }
    None
}

/// Removes all but the last of equal records. Like BIND, it keeps the last because they
/// may differ in the case of letters.
fn remove_duplicates(records: &mut Vec<LocatedRecord>) {
    let mut seen = BTreeSet::new();
    records.reverse();
    records.retain(|located| seen.insert((located.rtype(), located.canonical.clone())));
    records.reverse();
}

/// The first RRset that does not fit in a message.
fn oversized_rrset(records: &[LocatedRecord]) -> Option<Problem> {
    let mut sums: BTreeMap<RecordType, usize> = BTreeMap::new();
    records.iter().find_map(|located| {
        let sum = sums.entry(located.rtype()).or_default();
        *sum += RECORD_OCTETS + located.canonical.len();
        (*sum > MAX_RRSET_OCTETS).then(|| {
            located.problem(format!(
                "has more {} records than fit a message: with this one they take {sum} octets, \
                 and the limit is {MAX_RRSET_OCTETS}",
                line::mnemonic(located.rtype())
            ))
        })
    })
}

/// The first name server in the zone that has no address.
fn name_server_without_address(
    by_name: &BTreeMap<LowerName, Vec<LocatedRecord>>,
    zone: &Zone,
) -> Option<Problem> {
    let at_origin = by_name.get(&LowerName::new(&zone.origin))?;
    let own = zone.name_server();
    let has_address = |name: &Name| {
        let records = by_name.get(&LowerName::new(name));
        let mut types = records.into_iter().flatten().map(LocatedRecord::rtype);
        types.any(|rtype| matches!(rtype, RecordType::A | RecordType::AAAA))
    };
    at_origin.iter().find_map(|located| {
        let RData::NS(server) = &located.record.data else {
            return None;
        };
        let server = &server.0;
        let is_found = !zone.contains(server) || *server == own || has_address(server);
        (!is_found).then(|| {
            let server = line::name(server);
            located.problem(format!(
                "has the name server {server}, which has no address: add an A record for it"
            ))
        })
    })
}
