//! All records of a peer as octets, for transfers: a zone may have many millions
//! of them.

use hickory_proto::rr::Record;

use super::{
    Written, Zone, ZoneView,
    name::ENVIRONMENT,
    packet::{self, QUESTION},
    peer_answer::decoded,
    peer_records::write_variables,
};
use crate::network::{Peer, PeerRecord};

/// The records at one name of a zone.
#[derive(Debug, Default)]
pub struct RecordSet {
    /// What the name has before the origin, as it stands in a message.
    pub labels: Vec<u8>,
    /// The records, each with a pointer to somewhere else in the place of its name.
    octets: Vec<u8>,
}

/// The records of a peer: at its host's name, of its environment there, and the
/// same at its ID.
pub type RecordSets = [RecordSet; 4];

impl RecordSet {
    /// The records, each without its name.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.octets.as_slice();
        std::iter::from_fn(move || {
            let named = rest.get(QUESTION.len()..)?;
            // Type, class, TTL, and how much is to come (RFC 1035, section 4.1.3).
            let length = u16::from_be_bytes([*named.get(8)?, *named.get(9)?]);
            let (record, behind) = named.split_at_checked(10 + usize::from(length))?;
            rest = behind;
            Some(record)
        })
    }

    /// The same as records.
    fn decoded(&self, zone: &Zone) -> Option<Vec<Record>> {
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(&self.labels);
        message.extend(packet::name(&zone.origin));
        message.extend([0, 0, 0, 1]);
        message.extend(&self.octets);
        let written = Written {
            answers: u16::try_from(self.records().count()).ok()?,
            additional: 0,
            additional_at: message.len(),
        };
        Some(decoded(message, written)?.0)
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
    /// The records of a peer; `sets` are written over. One that cannot be written is
    /// left out, with those behind it.
    pub(super) fn records_of(&self, peer: &Peer, sets: &mut RecordSets) -> Vec<Record> {
        let _ = self.write_sets(peer, sets);
        sets.iter()
            .filter_map(|set| set.decoded(&self.zone))
            .flatten()
            .collect()
    }

    /// Writes the records of a peer, in the place of another's. `None` where one cannot
    /// be written.
    pub fn write_sets(&self, peer: &Peer, sets: &mut RecordSets) -> Option<()> {
        let told = PeerRecord::from(peer);
        let id = self.zone.rules.id_text(peer.id);
        let variables = self.zone.variables(&self.network, peer, self.zone.server());
        // A client that asks for it is told what is wrong.
        let variables = variables.unwrap_or_default();
        let is_live = self.network.is_live(peer.id);
        let [at_host, env_of_host, at_id, env_of_id] = sets;
        for (label, ttl, own, env) in [
            (peer.host.as_str(), 0, at_host, env_of_host),
            (id.as_str(), self.zone.ttl, at_id, env_of_id),
        ] {
            own.begin(&[label]);
            if is_live {
                own.octets.extend(QUESTION);
                packet::address_record(told.address, self.zone.ttl, &mut own.octets);
            }
            self.summary(&told, ttl, &mut own.octets)?;
            self.services(&told, ttl, &mut own.octets)?;
            env.begin(&[ENVIRONMENT, label]);
            write_variables(&variables, ttl, &mut env.octets);
        }
        Some(())
    }
}
