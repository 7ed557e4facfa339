//! Names in a zone: those of peers, some of which register, and all others.

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    Outcome,
    finish::other_role,
    pending::{Operation, RegistrationRequest},
    responder::{Exchange, Responder},
    snapshot::ZoneState,
};
use crate::{
    network::Holder,
    registry::Action,
    server::{extended_error::ExtendedError, policy::PolicyError},
    zone::{Form, Lookup, PeerRef, QueryName, Question},
};

impl Responder {
    /// Answers a query for a registered peer. Heartbeats take this fast path, which
    /// takes no lock and writes nothing but the time in the lease.
    #[inline(always)]
    pub(super) fn answer_peer(
        &self,
        exchange: &mut Exchange<'_>,
        zone: &ZoneState,
        lookup: &Lookup<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (&exchange.zone_query.query, exchange.reply.client);
        let (rtype, view) = (query.rtype(), &zone.view);
        let Some(name) = &exchange.zone_query.name else {
            return self.answer_name(exchange, zone, out);
        };
        if let Some(peer) = lookup.host()
            && name.form.registers(rtype)
        {
            let asker = match self.asker(exchange, zone) {
                Ok(asker) => asker,
                Err(error) => return exchange.reject(error, out),
            };
            let (now, duration) = (exchange.snapshot.now, view.zone.rules.lease);
            let is_holder = peer.holder == asker;
            let is_live = exchange.snapshot.may_renew
                && if is_holder {
                    peer.lease.renew(now, duration)
                } else {
                    peer.lease.is_running(now, duration)
                };
            if !is_live {
                return exchange.defer(Operation::Register(RegistrationRequest {
                    zone: zone.index,
                    host: peer.host.clone(),
                    role: match lookup {
                        Lookup::Host { in_role: true, .. } => Some(peer.role),
                        _ => None,
                    },
                    asker,
                    form: name.form,
                }));
            }
        } else if is_transfer(rtype) {
            return self.transfer(exchange, zone, &QueryName::Unknown, out);
        }
        exchange.reply.begin(out);
        match view.write(lookup, name.form, rtype, client.source.server, out) {
            Ok(written) => {
                let note = lookup.extended_error(rtype).map(ExtendedError::other);
                exchange.reply.records(written, note.as_ref(), out);
            }
            Err(reason) => match query.owner() {
                Some(owner) => {
                    let answer = view.without_records(lookup, reason, &owner);
                    exchange.reply.answer(answer, out);
                }
                None => exchange.reply.error(ResponseCode::FormErr, None, out),
            },
        }
        Outcome::Reply
    }

    /// The holder that the client of a query that registers would be.
    #[inline(always)]
    fn asker(&self, exchange: &mut Exchange<'_>, zone: &ZoneState) -> Result<Holder, PolicyError> {
        exchange.reply.depends_on_subnet = true;
        let keys = zone.view.zone.register_keys.as_ref();
        let signature = exchange.reply.signature;
        self.policy.may_register(exchange.client(), keys, signature)
    }

    /// Answers a query for a name at which no peer is registered.
    #[inline(never)]
    pub(super) fn answer_name(
        &self,
        exchange: &mut Exchange<'_>,
        zone: &ZoneState,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (&exchange.zone_query.query, exchange.reply.client);
        let Some(owner) = query.owner() else {
            return exchange.error(ResponseCode::FormErr, None, out);
        };
        let view = &zone.view;
        let name = view.zone.parse(&owner);
        if is_transfer(query.rtype()) {
            return self.transfer(exchange, zone, &name, out);
        }
        let rtype = RecordType::from(query.rtype());
        if !view.zone.registers(&name, rtype) {
            let question = Question {
                name: &name,
                rtype,
                owner: &owner,
                server: client.source.server,
                max_octets: exchange.reply.limit(),
            };
            exchange.reply.answer(view.answer(&question), out);
            return Outcome::Reply;
        }
        let asker = match self.asker(exchange, zone) {
            Ok(asker) => asker,
            Err(error) => return exchange.reject(error, out),
        };
        let zone = zone.index;
        match name {
            QueryName::Peer {
                peer: PeerRef::Host { host, role },
                form,
            } => {
                // With its own role, the lookup would have found the peer.
                if let Some(peer) = view.network.host(&host)
                    && role.is_some_and(|role| role != peer.role)
                {
                    let reason = other_role(&view.zone, &host, peer.role);
                    return exchange.failed(ResponseCode::Refused, reason, out);
                }
                exchange.defer(Operation::Register(RegistrationRequest {
                    zone,
                    host,
                    role,
                    asker,
                    form,
                }))
            }
            QueryName::Leave(host) => {
                let action = Action::Leave {
                    host,
                    client: asker,
                };
                exchange.defer(Operation::Change { zone, action })
            }
            // No other name registers.
            _ => exchange.error(ResponseCode::ServFail, None, out),
        }
    }
}

/// Returns whether a query of this type requests a zone transfer.
fn is_transfer(rtype: u16) -> bool {
    matches!(RecordType::from(rtype), RecordType::AXFR | RecordType::IXFR)
}

impl Form {
    /// Returns whether a query of this type for a host's name in this form registers.
    #[inline(always)]
    pub fn registers(self, rtype: u16) -> bool {
        match RecordType::from(rtype) {
            RecordType::TXT => true,
            RecordType::SRV => self == Self::Plain,
            _ => false,
        }
    }
}
