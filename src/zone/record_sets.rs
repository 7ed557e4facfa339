//! All records of a peer in wire format, for transfers: a zone may have many millions
//! of records.

use hickory_proto::rr::Record;

use super::{
    RecordCounts, Zone, ZoneView,
    name::ENVIRONMENT,
    packet::{self, QUESTION_NAME},
    peer_answer::decode,
    peer_records::write_variables,
};
use crate::network::{Peer, PeerRecord};

/// The records at one name of a zone.
#[derive(Debug, Default)]
pub struct RecordSet {
    /// The labels before the origin, in wire format.
    pub labels: Vec<u8>,
    /// The records, each with a placeholder pointer as its name.
    octets: Vec<u8>,
}

/// The records of a peer: at its host name, its environment there, and the same at its
/// ID.
pub type RecordSets = [RecordSet; 4];

impl RecordSet {
    /// The records, each without its name.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.octets.as_slice();
        std::iter::from_fn(move || {
            let named = rest.get(QUESTION_NAME.len()..)?;
            // Type, class, TTL and the length of the data (RFC 1035, section 4.1.3).
            let length = u16::from_be_bytes([*named.get(8)?, *named.get(9)?]);
            let (record, behind) = named.split_at_checked(10 + usize::from(length))?;
            rest = behind;
            Some(record)
        })
    }

    /// Decodes the records, with their name.
    fn decode(&self, zone: &Zone) -> Option<Vec<Record>> {
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(&self.labels);
        message.extend(packet::name(&zone.origin));
        message.extend([0, 0, 0, 1]);
        message.extend(&self.octets);
        let counts = RecordCounts {
            answers: u16::try_from(self.records().count()).ok()?,
            additional: 0,
            additional_at: message.len(),
        };
        Some(decode(message, counts)?.answers)
    }

    fn begin(&mut self, labels: &[&str]) {
        self.labels.clear();
        self.octets.clear();
        for label in labels {
            // No label that the service makes is longer than 63 octets.
            self.labels.push(label.len() as u8);
            self.labels.extend(label.as_bytes());
        }
    }
}

impl ZoneView {
    /// The records of a peer. Overwrites `sets`. A record that cannot be written is
    /// omitted, with those after it.
    pub(super) fn records_of(&self, peer: &Peer, sets: &mut RecordSets) -> Vec<Record> {
        let _ = self.write_sets(peer, sets);
        sets.iter()
            .filter_map(|set| set.decode(&self.zone))
            .flatten()
            .collect()
    }

    /// Overwrites `sets` with the records of a peer. `None` if one cannot be written.
    pub fn write_sets(&self, peer: &Peer, sets: &mut RecordSets) -> Option<()> {
        let record = PeerRecord::from(peer);
        let id = self.zone.rules.id_text(peer.id);
        let variables = self.zone.variables(&self.network, peer, self.zone.server());
        // An error is reported to clients that query for the environment.
        let variables = variables.unwrap_or_default();
        let is_live = self.network.is_live(peer.id);
        let [at_host, env_of_host, at_id, env_of_id] = sets;
        for (label, ttl, own, env) in [
            (peer.host.as_str(), 0, at_host, env_of_host),
            (id.as_str(), self.zone.ttl, at_id, env_of_id),
        ] {
            own.begin(&[label]);
            if is_live {
                own.octets.extend(QUESTION_NAME);
                packet::address_record(record.address, self.zone.ttl, &mut own.octets);
            }
            self.summary(&record, ttl, &mut own.octets)?;
            self.services(&record, ttl, &mut own.octets)?;
            env.begin(&[ENVIRONMENT, label]);
            write_variables(&variables, ttl, &mut env.octets);
        }
        Some(())
    }
}
