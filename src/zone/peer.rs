//! What the names of a peer answer.

use std::sync::atomic::Ordering;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};
use tracing::error;

use super::{
    Answer, Asked, Form, Who, Zone,
    answer::{NO_HOST_NAME, minimal},
    records,
};
use crate::{
    network::{Network, Peer, Role},
    params::RenderError,
};

impl Zone {
    /// The registered peer that is called so; in a role, only if it is its.
    pub(super) fn peer_called<'n>(&self, network: &'n Network, who: &Who) -> Option<&'n Peer> {
        let peer = match who {
            Who::Id(id) => network.peer(*id)?,
            Who::Host { host, role } => network
                .host(host)
                .filter(|peer| role.is_none_or(|role| role == peer.role))?,
        };
        Some(peer)
    }

    /// What a registered peer's name gives.
    pub fn peer_answer(
        &self,
        network: &Network,
        peer: &Peer,
        who: &Who,
        form: Form,
        asked: &Asked<'_>,
    ) -> Answer {
        let Asked {
            rtype,
            owner,
            server,
        } = *asked;
        if is_parameters(rtype) && !network.finds_root(peer.id.sequence, peer.holder.address) {
            return self.refused(self.no_root_text(peer.role));
        }
        // Answers that register must reach the service each time.
        let ttl = match who {
            Who::Host { .. } => 0,
            Who::Id(_) => self.ttl,
        };
        let is_id = matches!(who, Who::Id(_)) && is_parameters(rtype);
        let reason = is_id.then(|| NO_HOST_NAME.to_owned());
        let answer = |data: Vec<RData>, ttl, additional| Answer {
            additional,
            reason,
            ..self.positive(owner, ttl, data)
        };
        let in_role = matches!(who, Who::Host { role: Some(_), .. });
        match (form, rtype) {
            (_, RecordType::ANY) => answer(vec![minimal()], self.ttl, vec![]),
            (Form::Environment, RecordType::TXT) => {
                let environment = self.environment(network, peer, server);
                self.note_failing(peer, environment.as_ref().err());
                let data = match environment {
                    Ok(data) => data,
                    Err(error) => return self.not_rendered(peer, &error),
                };
                if data.is_empty() {
                    return self.no_data(network);
                }
                // The summary says who the holder is, so that the asker sees in
                // one message whether this environment is its own.
                let summary = self.summary(&self.roots(network), peer);
                let summary = Record::from_rdata(owner.base_name(), ttl, summary);
                answer(data, ttl, vec![summary])
            }
            (Form::Plain, RecordType::TXT) => {
                answer(vec![self.summary(&self.roots(network), peer)], ttl, vec![])
            }
            (Form::Plain, RecordType::SRV) => {
                let roots = self.roots(network);
                let (data, roots): (Vec<_>, Vec<_>) = self.root_services(&roots, peer).unzip();
                if data.is_empty() {
                    return self.no_data(network);
                }
                answer(data, ttl, self.target_addresses(roots))
            }
            (Form::Plain, RecordType::A | RecordType::AAAA) if !in_role => {
                if !network.is_live(peer.id) {
                    return self.lease_ended(network, peer);
                }
                let data = vec![records::address(peer.holder.address)];
                self.of_type(network, rtype, owner, data)
            }
            _ => self.no_data(network),
        }
    }

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
    fn note_failing(&self, peer: &Peer, error: Option<&RenderError>) {
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
