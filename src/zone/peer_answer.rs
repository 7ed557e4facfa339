//! Answers about a registered peer that are not its records, and those that are as
//! records instead of octets.

use std::sync::atomic::Ordering;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};
use tracing::error;

use super::{
    Answer, Asked, Form, Lookup, NoRecords, Who, Written, Zone, ZoneView,
    answer::{NO_HOST_NAME, minimal},
    packet,
};
use crate::{
    network::{Network, Peer, PeerRecord, Role},
    params::RenderError,
};

/// How many octets a message's header has (RFC 1035, section 4.1.1), and where it
/// counts the answers and the additional records.
const HEADER: usize = 12;
const ANSWERS: std::ops::Range<usize> = 6..8;
const ADDITIONAL: std::ops::Range<usize> = 10..12;

impl ZoneView {
    /// The registered peer that is meant; in a role, only if it is its.
    pub(super) fn registered(&self, who: &Who) -> Option<Lookup<'_>> {
        match who {
            Who::Id(id) => {
                let peer = self.network.peer(*id)?;
                Some(Lookup::Id(PeerRecord::from(&**peer)))
            }
            Who::Host { host, role } => {
                let peer = self.network.host(host);
                let peer = peer.filter(|peer| role.is_none_or(|role| role == peer.role))?;
                Some(Lookup::Host {
                    peer,
                    in_role: role.is_some(),
                })
            }
        }
    }

    /// What a registered peer's name gives, as records.
    pub(super) fn peer_answer(&self, found: &Lookup<'_>, form: Form, asked: &Asked<'_>) -> Answer {
        let rtype = asked.rtype.into();
        let mut message = packet::question(asked.owner, rtype);
        let written = self.write(found, form, rtype, asked.server, &mut message);
        match written.map(|written| decoded(message, written)) {
            Ok(Some((answers, additional))) => Answer {
                answers,
                additional,
                reason: found.note(rtype).map(str::to_owned),
                ..Answer::empty(ResponseCode::NoError)
            },
            Ok(None) => Answer::empty(ResponseCode::ServFail),
            Err(why) => self.without_records(found, why, asked.owner),
        }
    }

    /// The answer to a question about a registered peer of which it has no records.
    pub fn without_records(&self, found: &Lookup<'_>, why: NoRecords, owner: &Name) -> Answer {
        let peer = match found {
            Lookup::Host { peer, .. } => Some(*peer),
            Lookup::Id(peer) => self.network.peer(peer.id),
        };
        let Some(peer) = peer else {
            return self.zone.no_data(&self.network);
        };
        match why {
            NoRecords::NoRoot => self.zone.refused(self.zone.no_root_text(peer.role)),
            NoRecords::Any => self.zone.positive(owner, self.zone.ttl, vec![minimal()]),
            NoRecords::LeaseEnded => self.zone.lease_ended(&self.network, peer),
            NoRecords::NotRendered(error) => self.zone.not_rendered(peer, &error),
            NoRecords::OfType => self.zone.no_data(&self.network),
        }
    }
}

impl Lookup<'_> {
    /// What is to be said beside the records of that type: an extended error's text.
    pub fn note(&self, rtype: u16) -> Option<&'static str> {
        let is_id = matches!(self, Self::Id(_));
        (is_id && is_parameters(rtype.into())).then_some(NO_HOST_NAME)
    }
}

/// The records that were written behind a question.
pub(super) fn decoded(
    mut message: Vec<u8>,
    written: Written,
) -> Option<(Vec<Record>, Vec<Record>)> {
    let header = message.first_chunk_mut::<HEADER>()?;
    header[ANSWERS].copy_from_slice(&written.answers.to_be_bytes());
    header[ADDITIONAL].copy_from_slice(&written.additional.to_be_bytes());
    let message = Message::from_vec(&message).ok()?;
    Some((message.answers, message.additionals))
}

impl Zone {
    /// The address of a peer whose lease has ended may be another's by now, so
    /// nobody is led there.
    fn lease_ended(&self, network: &Network, peer: &Peer) -> Answer {
        let id = self.rules.id_text(peer.id);
        let text = format!("the lease of {} ({id}) has ended", peer.host);
        Answer {
            reason: Some(text),
            ..self.no_data(network)
        }
    }

    /// The reason for which a peer of that role waits.
    pub fn no_root_text(&self, role: Role) -> String {
        format!(
            "no root node is live, and a peer of the role {} cannot be the first: \
             start one of the sequence {}",
            self.rules.role(role).name,
            self.rules.sequence(self.rules.root_sequence).name
        )
    }

    fn refused(&self, reason: String) -> Answer {
        Answer {
            reason: Some(reason),
            ..Answer::empty(ResponseCode::Refused)
        }
    }

    /// Logs when the environments of a role begin to fail.
    pub(super) fn note_failing(&self, peer: &Peer, error: Option<&RenderError>) {
        let is_failing = &self.profiles[usize::from(peer.role.0)].is_failing;
        match error {
            None => is_failing.store(false, Ordering::Relaxed),
            Some(error) if !is_failing.swap(true, Ordering::Relaxed) => {
                error!("zone {self}: the environment of {}: {error}", peer.host);
            }
            Some(_) => {}
        }
    }

    /// No peer starts with a part of its environment.
    fn not_rendered(&self, peer: &Peer, error: &RenderError) -> Answer {
        Answer {
            reason: Some(format!("the environment of {}: {error}", peer.host)),
            ..Answer::empty(ResponseCode::ServFail)
        }
    }

    /// `left=vp1`.
    pub fn left_answer(&self, peer: &Peer, owner: &Name) -> Answer {
        let text = format!("left={}", self.rules.id_text(peer.id));
        self.positive(owner, 0, vec![RData::TXT(TXT::new(vec![text]))])
    }
}

/// Whether the type is one of those that tell a peer its parameters.
fn is_parameters(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::TXT | RecordType::SRV)
}
