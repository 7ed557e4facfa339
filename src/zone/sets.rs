//! All records of a peer as octets, for transfers: a zone may have many millions
//! of them.

use super::{
    Ready,
    name::ENVIRONMENT,
    packet::{self, QUESTION},
    ready::TXT,
};
use crate::network::{Peer, PeerSummary};

/// The records at one name of a zone.
#[derive(Debug, Default)]
pub struct Set {
    /// What the name has before the origin, as it stands in a message.
    pub labels: Vec<u8>,
    /// The records, each with a pointer to somewhere else in the place of its name.
    octets: Vec<u8>,
}

/// The records of a peer: at its host's name, of its environment there, and the
/// same at its ID.
pub type Sets = [Set; 4];

impl Set {
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

impl Ready {
    /// Writes the records of a peer, in the place of another's: those of
    /// [`Zone::content`](super::Zone::content). `None` where one cannot be written.
    pub fn records(&self, peer: &Peer, sets: &mut Sets) -> Option<()> {
        let told = PeerSummary::from(peer);
        let id = self.zone.rules.id_text(peer.id);
        let server = self.zone.server();
        let variables = self.zone.variables(&self.network, peer, server);
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
            for text in &variables {
                packet::record(TXT, ttl, &mut env.octets, |out| {
                    packet::text(out, text.as_bytes());
                    Some(())
                })?;
            }
        }
        Some(())
    }
}
