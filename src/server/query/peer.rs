//! Names of a zone: peers, which register by being asked for, and all others.

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    Outcome,
    pending::{Registration, Work},
    responder::{Exchange, Responder},
    snapshot::ZoneState,
};
use crate::{
    server::extended_error::ExtendedError,
    zone::{Form, Lookup, PeerRef, QueryName, Question},
};

impl Responder {
    /// Answers a question about a registered peer. The heartbeat is one of these: it
    /// takes no lock and writes nothing but the time in the lease.
    #[inline(always)]
    pub(super) fn answer_peer(
        &self,
        asked: &Exchange<'_>,
        zone: &ZoneState,
        found: &Lookup<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (asked.query(), asked.client());
        let (rtype, view) = (query.rtype(), &zone.view);
        let Some(name) = &asked.found.name else {
            return self.answer_name(asked, zone, out);
        };
        let mut asked = *asked;
        if let Some(peer) = found.host()
            && name.form.registers(rtype)
        {
            asked.reply.by_address = true;
            let (demanded, signature) = (view.zone.register_keys.as_ref(), asked.reply.signature);
            let address = match self.policy.may_register(client, demanded, signature) {
                Ok(address) => address,
                Err(refusal) => return asked.refuse(refusal, out),
            };
            let (now, lasting) = (asked.snapshot.now, view.zone.rules.lease);
            let is_holder =
                peer.holder.source == client.source.ip && peer.holder.address == address;
            let runs = match is_holder {
                true => peer.lease.renew(now, lasting),
                false => peer.lease.is_running(now, lasting),
            };
            if !runs {
                return asked.later(Work::Register(Registration {
                    zone: zone.place,
                    host: peer.host.clone(),
                    role: match found {
                        Lookup::Host { in_role: true, .. } => Some(peer.role),
                        _ => None,
                    },
                    asker: client.holder(address),
                    form: name.form,
                }));
            }
        } else if is_transfer(rtype) {
            return self.transfer(&asked, zone, &QueryName::Unknown, out);
        }
        asked.reply.begin(out);
        match view.write(found, name.form, rtype, client.source.server, out) {
            Ok(written) => {
                let note = found.extended_error(rtype).map(ExtendedError::other);
                asked.reply.records(written, note.as_ref(), out);
            }
            Err(why) => match asked.owner() {
                Some(owner) => {
                    let answer = view.without_records(found, why, &owner);
                    asked.reply.answer(answer, out);
                }
                None => asked.reply.error(ResponseCode::FormErr, None, out),
            },
        }
        Outcome::Reply
    }

    /// Answers a question about a name at which no peer is registered.
    #[inline(never)]
    pub(super) fn answer_name(
        &self,
        asked: &Exchange<'_>,
        zone: &ZoneState,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (asked.query(), asked.client());
        let Some(owner) = asked.owner() else {
            return asked.error(ResponseCode::FormErr, None, out);
        };
        let view = &zone.view;
        let name = view.zone.parse(&owner);
        if is_transfer(query.rtype()) {
            return self.transfer(asked, zone, &name, out);
        }
        let rtype = RecordType::from(query.rtype());
        if !view.zone.registers(&name, rtype) {
            let question = Question {
                name: &name,
                rtype,
                owner: &owner,
                server: client.source.server,
                max_octets: asked.reply.limit(),
            };
            asked.reply.answer(view.answer(&question), out);
            return Outcome::Reply;
        }
        let mut asked = *asked;
        asked.reply.by_address = true;
        let (demanded, signature) = (view.zone.register_keys.as_ref(), asked.reply.signature);
        let address = match self.policy.may_register(client, demanded, signature) {
            Ok(address) => address,
            Err(refusal) => return asked.refuse(refusal, out),
        };
        let asker = client.holder(address);
        let zone = zone.place;
        match name {
            QueryName::Peer {
                peer: PeerRef::Host { host, role },
                form,
            } => {
                // Under its own role it would have been found.
                if let Some(peer) = view.network.host(&host)
                    && role.is_some_and(|role| role != peer.role)
                {
                    let error = self.other_role(zone, &host, peer.role);
                    return asked.error(ResponseCode::Refused, Some(error), out);
                }
                asked.later(Work::Register(Registration {
                    zone,
                    host,
                    role,
                    asker,
                    form,
                }))
            }
            QueryName::Leave(host) => asked.later(Work::Leave { zone, host, asker }),
            // No other name registers.
            _ => asked.error(ResponseCode::ServFail, None, out),
        }
    }
}

/// Whether a whole zone is asked for.
fn is_transfer(rtype: u16) -> bool {
    matches!(RecordType::from(rtype), RecordType::AXFR | RecordType::IXFR)
}

impl Form {
    /// Whether a query for a host's name in this form registers.
    #[inline(always)]
    pub fn registers(self, rtype: u16) -> bool {
        match RecordType::from(rtype) {
            RecordType::TXT => true,
            RecordType::SRV => self == Self::Plain,
            _ => false,
        }
    }
}
