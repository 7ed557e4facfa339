//! What the records of a master file may be, together and in this zone: each
//! mistake is told with the line of a record.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{LowerName, Name, RData, RecordType};

use super::{line, reader::Placed};
use crate::{
    settings::Problem,
    zone::{Form, QueryName, Records, Who, Zone, name::NAME_SERVER, name::NAME_SERVER_PARENT},
};

/// How much the records of one name and type may have: an answer has them all,
/// in one message of 65,535 octets, beside header, question, OPT and TSIG.
const SET_OCTETS: usize = 65_000;

/// What a record takes in a message besides its RDATA: a pointer to its name,
/// type, class, TTL and length.
const RECORD_OCTETS: usize = 12;

/// Makes the records of a zone of those that were read. Equal ones are one.
pub(super) fn records(read: Vec<Placed>, zone: &Zone) -> Result<Records, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut by_name: BTreeMap<LowerName, Vec<Placed>> = BTreeMap::new();
    for placed in read {
        let name = LowerName::new(&placed.record.name);
        by_name.entry(name).or_default().push(placed);
    }
    for records in by_name.values_mut() {
        match records.iter().find_map(|placed| refusal(placed, zone)) {
            Some(problem) => problems.push(problem),
            None => problems.extend(conflict(records)),
        }
        leave_equal_out(records);
        problems.extend(too_much(records));
    }
    if problems.is_empty() {
        problems.extend(name_server_without_address(&by_name, zone));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut above = BTreeSet::new();
    for name in by_name.keys() {
        let mut name = Name::from(name).base_name();
        while zone.contains(&name) && name != zone.origin {
            above.insert(LowerName::new(&name));
            name = name.base_name();
        }
    }
    let record = |placed: Placed| placed.record;
    let by_name = by_name
        .into_iter()
        .map(|(name, records)| (name, records.into_iter().map(record).collect()))
        .collect();
    Ok(Records { by_name, above })
}

impl Placed {
    fn rtype(&self) -> RecordType {
        self.record.record_type()
    }

    fn problem(&self, message: String) -> Problem {
        Problem {
            path: self.path.to_path_buf(),
            line: Some(self.line),
            message: format!("{} {message}", line::name(&self.record.name)),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }
}

/// Why a record may not stand in the master file.
fn refusal(placed: &Placed, zone: &Zone) -> Option<Problem> {
    let name = &placed.record.name;
    let rtype = placed.rtype();
    let is_origin = *name == zone.origin;
    let message = if !zone.contains(name) {
        format!("is not below the origin {zone}: take it out")
    } else if name.is_wildcard() {
        "is a wildcard, which would answer for hosts that are not registered: take it out".into()
    } else if is_origin && matches!(rtype, RecordType::TXT | RecordType::CNAME) {
        "has a record at the origin that would hide the service's own: take it out".into()
    } else if !is_origin && rtype == RecordType::NS {
        "delegates a part of the zone, which the service does not do: take the NS record out".into()
    } else if !is_origin && !is_free(name, zone) {
        "is a name that the service gives to peers: choose another".into()
    } else {
        return None;
    };
    Some(placed.problem(message))
}

/// Whether the service itself has no use for the name.
fn is_free(name: &Name, zone: &Zone) -> bool {
    match zone.parse(name) {
        QueryName::Unknown => {
            let first = name.iter().next().unwrap_or_default().to_ascii_lowercase();
            let first = String::from_utf8_lossy(&first).into_owned();
            !zone.rules.is_id_shaped(first.as_bytes())
        }
        QueryName::Peer {
            who: Who::Host { role: None, .. },
            form: Form::Plain,
        } => true,
        _ => false,
    }
}

/// Records of one name that cannot be there together.
fn conflict(records: &[Placed]) -> Option<Problem> {
    let mut first_of_type: BTreeMap<RecordType, &Placed> = BTreeMap::new();
    for placed in records {
        let rtype = placed.rtype();
        let other = match rtype {
            RecordType::CNAME => first_of_type
                .values()
                .find(|other| other.rtype() != rtype || other.canonical != placed.canonical),
            _ => first_of_type.get(&RecordType::CNAME),
        };
        if let Some(other) = other {
            return Some(placed.problem(format!(
                "has a CNAME and other records (RFC 1034, section 3.6.2): take this one out, or \
                 that at {}",
                other.place()
            )));
        }
        let first = first_of_type.entry(rtype).or_insert(placed);
        let (ttl, first_ttl) = (placed.record.ttl, first.record.ttl);
        if ttl != first_ttl {
            let rtype = line::mnemonic(rtype);
            return Some(placed.problem(format!(
                "has {rtype} records with the TTLs {ttl}, here, and {first_ttl}, at {}: write one \
                 for all (RFC 2181, section 5.2)",
                first.place()
            )));
        }
    }
    None
}

/// Leaves one record of those that are equal: the last, as BIND does, should
/// they differ in the case of letters.
fn leave_equal_out(records: &mut Vec<Placed>) {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Placed> = std::mem::take(records).into_iter().rev().collect();
    kept.retain(|placed| seen.insert((placed.rtype(), placed.canonical.clone())));
    kept.reverse();
    *records = kept;
}

/// The records of one name and type that no message has room for.
fn too_much(records: &[Placed]) -> Option<Problem> {
    let mut sums: BTreeMap<RecordType, usize> = BTreeMap::new();
    records.iter().find_map(|placed| {
        let sum = sums.entry(placed.rtype()).or_default();
        *sum += RECORD_OCTETS + placed.canonical.len();
        (*sum > SET_OCTETS).then(|| {
            placed.problem(format!(
                "has more {} records than fit a message: with this one there are {sum} octets, of \
                 {SET_OCTETS}",
                line::mnemonic(placed.rtype())
            ))
        })
    })
}

/// A name server in the zone whose address nobody would find.
fn name_server_without_address(
    by_name: &BTreeMap<LowerName, Vec<Placed>>,
    zone: &Zone,
) -> Option<Problem> {
    let at_origin = by_name.get(&LowerName::new(&zone.origin))?;
    let own = zone.name(&[NAME_SERVER, NAME_SERVER_PARENT]);
    let has_address = |name: &Name| {
        let records = by_name.get(&LowerName::new(name));
        let mut types = records.into_iter().flatten().map(Placed::rtype);
        types.any(|rtype| matches!(rtype, RecordType::A | RecordType::AAAA))
    };
    at_origin.iter().find_map(|placed| {
        let RData::NS(server) = &placed.record.data else {
            return None;
        };
        let server = &server.0;
        let is_found = !zone.contains(server) || *server == own || has_address(server);
        (!is_found).then(|| {
            let server = line::name(server);
            placed.problem(format!(
                "has the name server {server}, which has no address: write its A record"
            ))
        })
    })
}
