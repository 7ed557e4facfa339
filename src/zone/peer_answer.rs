//! Answers about a registered peer: its records, decoded from wire format, and answers
//! other than its records.

use std::sync::atomic::Ordering;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use tracing::error;

use super::{
    Answer, Form, Lookup, NoRecords, PeerRef, Question, RecordCounts, Zone, ZoneView,
    answer::NO_HOST_NAME, packet, records,
};
use crate::{
    network::{Network, Peer, PeerRecord, Role},
    params::RenderError,
};

/// The size of a header (RFC 1035, section 4.1.1), and the positions of the counts of
/// answers and additional records.
const HEADER: usize = 12;
const ANSWERS: std::ops::Range<usize> = 6..8;
const ADDITIONAL: std::ops::Range<usize> = 10..12;

impl ZoneView {
    /// The registered peer of a reference. If that names a role, it must be the peer's.
    pub(super) fn lookup_reference(&self, peer: &PeerRef) -> Option<Lookup<'_>> {
        match peer {
            PeerRef::Id(id) => {
                let peer = self.network.peer(*id)?;
                Some(Lookup::Id(PeerRecord::from(&**peer)))
            }
            PeerRef::Host { host, role } => {
                let peer = self.network.host(host);
                let peer = peer.filter(|peer| role.is_none_or(|role| role == peer.role))?;
                Some(Lookup::Host {
                    peer,
                    in_role: role.is_some(),
                })
            }
        }
    }

    /// The answer to a question about a registered peer, as records.
    pub(super) fn peer_answer(
        &self,
        lookup: &Lookup<'_>,
        form: Form,
        question: &Question<'_>,
    ) -> Answer {
        let rtype = question.rtype.into();
        let mut message = packet::question(question.owner, rtype);
        let counts = self.write(lookup, form, rtype, question.server, &mut message);
        match counts.map(|counts| decode(message, counts)) {
            Ok(Some(message)) => Answer {
                answers: message.answers,
                additional: message.additionals,
                reason: lookup.extended_error(rtype).map(str::to_owned),
                ..Answer::empty(ResponseCode::NoError)
            },
            Ok(None) => Answer::empty(ResponseCode::ServFail),
            Err(why) => self.without_records(lookup, why, question.owner),
        }
    }

    /// The answer to a question about a registered peer that has no such records.
    pub fn without_records(&self, lookup: &Lookup<'_>, why: NoRecords, owner: &Name) -> Answer {
        let peer = match lookup {
            Lookup::Host { peer, .. } => Some(*peer),
            Lookup::Id(peer) => self.network.peer(peer.id),
        };
        let Some(peer) = peer else {
            return self.zone.no_data(&self.network);
        };
        match why {
            NoRecords::NoRoot => {
                Answer::error(ResponseCode::Refused, self.zone.no_root_text(peer.role))
            }
            NoRecords::Any => self.zone.minimal_any(owner),
            NoRecords::LeaseEnded => self.zone.lease_ended(&self.network, peer),
            // No peer starts with a part of its environment.
            NoRecords::NotRendered(error) => Answer::error(
                ResponseCode::ServFail,
                format!("the environment of {}: {error}", peer.host),
            ),
            NoRecords::NoData => self.zone.no_data(&self.network),
        }
    }
}

impl Lookup<'_> {
    /// The text of the extended error for an answer with records of the type.
    pub fn extended_error(&self, rtype: u16) -> Option<&'static str> {
        let is_parameters = matches!(rtype.into(), RecordType::TXT | RecordType::SRV);
        (matches!(self, Self::Id(_)) && is_parameters).then_some(NO_HOST_NAME)
    }
}

/// Decodes a message whose header has no counts of answers and additional records.
pub(super) fn decode(mut message: Vec<u8>, counts: RecordCounts) -> Option<Message> {
    let header = message.first_chunk_mut::<HEADER>()?;
    header[ANSWERS].copy_from_slice(&counts.answers.to_be_bytes());
    header[ADDITIONAL].copy_from_slice(&counts.additional.to_be_bytes());
    Message::from_vec(&message).ok()
}

impl Zone {
    /// After the end of a lease, another container may have the address of the peer, so
    /// it is not returned.
    fn lease_ended(&self, network: &Network, peer: &Peer) -> Answer {
        let id = self.rules.id_text(peer.id);
        let text = format!("the lease of {} ({id}) has ended", peer.host);
        Answer {
            reason: Some(text),
            ..self.no_data(network)
        }
    }

    /// The reason why a peer of the role must wait.
    pub fn no_root_text(&self, role: Role) -> String {
        format!(
            "no root node is live, and a peer with the role {} cannot be the first: \
             start a peer of the sequence {}",
            self.rules.role(role).name,
            self.rules.sequence(self.rules.root_sequence).name
        )
    }

    /// Logs an error in the environments of a role, unless the previous one failed too.
    pub(super) fn log_render_error(&self, peer: &Peer, error: Option<&RenderError>) {
        let is_failing = &self.profiles[usize::from(peer.role.0)].is_failing;
        match error {
            None => is_failing.store(false, Ordering::Relaxed),
            Some(error) if !is_failing.swap(true, Ordering::Relaxed) => {
                error!("zone {self}: the environment of {}: {error}", peer.host);
            }
            Some(_) => {}
        }
    }

    /// `left=vp1`.
    pub fn left_answer(&self, peer: &Peer, owner: &Name) -> Answer {
        let text = format!("left={}", self.rules.id_text(peer.id));
        self.positive(owner, 0, vec![records::text(vec![text])])
    }
}
