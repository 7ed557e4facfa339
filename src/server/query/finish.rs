//! The replies that had to wait for the registry or an upstream.

use std::borrow::Cow;

use hickory_proto::op::ResponseCode;

use super::{
    pending::{Operation, Pending, RegistrationRequest},
    responder::Responder,
};
use crate::{
    network::{Hostname, LeaveRefusal, Refusal, Role},
    registry::{Action, Decision, Denial, Grant},
    server::{
        extended_error::ExtendedError,
        policy::{client::Client, cookie, rate::Token, tsig::Signature},
        reply::Reply,
    },
    zone::{Lookup, Zone},
};

/// The initial capacity of a reply, which suffices for most.
const REPLY_OCTETS: usize = 320;

impl Responder {
    /// Completes the operation, and returns the reply.
    pub async fn finish(&self, mut pending: Pending) -> Option<Vec<u8>> {
        let (zone, action, admitted) = match &mut pending.operation {
            Operation::Register(request) => (request.zone, request.action(), self.admit(request)),
            Operation::Change { zone, action } => {
                let allowed = self.may_change(*zone, action);
                (*zone, action.clone(), allowed.map(|()| None))
            }
            Operation::Forward(forwarding) => {
                let result = forwarding.await;
                return self.reply(&pending, |reply, out| {
                    match result.response {
                        Some(response) => {
                            let errors: Vec<_> =
                                response.errors.into_iter().chain(result.error).collect();
                            reply.forwarded(&response.message, response.code, &errors, out);
                        }
                        None => reply.error(ResponseCode::ServFail, result.error, out),
                    }
                    Some(())
                });
            }
        };
        let new_host = match admitted {
            Ok(new_host) => new_host,
            Err(error) => return self.reply_refused(&pending, error),
        };
        let decision = self.registry.request(zone, action).await;
        self.refund_unless_new(new_host, &decision);
        self.reply_to_decision(&pending, decision)
    }

    /// Applies the limits of new hosts and of changes to a registration.
    pub fn admit(&self, request: &RegistrationRequest) -> Result<Option<Token>, ExtendedError> {
        let network = self.registry.zones()[request.zone].network();
        let (host, now) = (&request.host, self.clock.now());
        self.policy
            .admit(request.zone, host, &request.asker, &network, now)
    }

    /// Refunds the token unless a new host was registered.
    pub fn refund_unless_new(&self, new_host: Option<Token>, decision: &Decision) {
        let is_new = matches!(decision, Ok(Grant::Peer { is_new: true, .. }));
        if let Some(new_host) = new_host.filter(|_| !is_new) {
            self.policy.limiter.refund(new_host);
        }
    }

    /// Applies the limit of changes: the release of a running lease counts as a change of
    /// its holder.
    fn may_change(&self, zone: usize, action: &Action) -> Result<(), ExtendedError> {
        let Action::Leave { host, client } = action else {
            return Ok(());
        };
        let network = self.registry.zones()[zone].network();
        let peer = network.host(host).filter(|peer| peer.holder == *client);
        if peer.is_some_and(|peer| network.is_live(peer.id)) {
            let now = self.clock.now();
            self.policy
                .limiter
                .may_change(zone, host, client.source, now)?;
        }
        Ok(())
    }

    /// The reply to a request that a limit refuses.
    pub fn reply_refused(&self, pending: &Pending, error: ExtendedError) -> Option<Vec<u8>> {
        self.reply(pending, |reply, out| {
            reply.error(ResponseCode::Refused, Some(error), out);
            Some(())
        })
    }

    /// The reply with the decision of the registry.
    pub fn reply_to_decision(&self, pending: &Pending, decision: Decision) -> Option<Vec<u8>> {
        let zones = self.registry.zones();
        self.reply(pending, |reply, out| {
            match (&pending.operation, decision) {
                (Operation::Register(request), Ok(Grant::Peer { peer, view, .. })) => {
                    let lookup = Lookup::Host {
                        peer: &peer,
                        in_role: request.role.is_some(),
                    };
                    reply.begin(out);
                    let (rtype, server) = (reply.query.rtype(), pending.source.server);
                    match view.write(&lookup, request.form, rtype, server, out) {
                        Ok(written) => reply.records(written, None, out),
                        Err(reason) => {
                            let answer =
                                view.without_records(&lookup, reason, &reply.query.owner()?);
                            reply.answer(answer, out);
                        }
                    }
                }
                (Operation::Change { zone, .. }, Ok(Grant::Peer { peer, .. })) => {
                    let answer = zones[*zone].zone.left_answer(&peer, &reply.query.owner()?);
                    reply.answer(answer, out);
                }
                (Operation::Change { .. }, Ok(Grant::Updated)) => {
                    reply.error(ResponseCode::NoError, None, out);
                }
                (
                    Operation::Change { zone, .. },
                    Err(Denial::CannotLeave(LeaveRefusal::Unknown)),
                ) => {
                    let zone = &zones[*zone];
                    reply.answer(zone.zone.nx_domain(&zone.network()), out);
                }
                (operation, Err(denial)) => {
                    let (code, reason) = self.reason(operation, denial);
                    reply.error(code, Some(ExtendedError::other(reason)), out);
                }
                (_, Ok(_)) => reply.error(ResponseCode::ServFail, None, out),
            }
            Some(())
        })
    }

    /// Returns the reply that `write` has written; `None` if it is empty.
    fn reply(
        &self,
        pending: &Pending,
        write: impl FnOnce(&Reply<'_>, &mut Vec<u8>) -> Option<()>,
    ) -> Option<Vec<u8>> {
        let query = pending.query()?;
        let signature = pending.signature.as_ref();
        let cookies = self.policy.cookies.snapshot(cookie::now());
        let key = signature.and_then(Signature::key);
        let reply = Reply {
            query: &query,
            client: &Client::of(&query, &pending.source, key, &cookies),
            cookies: &cookies,
            server_info: &self.server_info,
            signature,
            depends_on_subnet: pending.depends_on_subnet,
        };
        let mut out = Vec::with_capacity(REPLY_OCTETS);
        write(&reply, &mut out)?;
        (!out.is_empty()).then_some(out)
    }

    /// The response code and the reason of a denial.
    fn reason(&self, operation: &Operation, denial: Denial) -> (ResponseCode, Cow<'static, str>) {
        let (Operation::Register(RegistrationRequest { zone, host, .. })
        | Operation::Change {
            zone,
            action: Action::Leave { host, .. },
        }) = operation
        else {
            return failure(denial);
        };
        let zone = &self.registry.zones()[*zone].zone;
        let reason = match denial {
            Denial::Refused(Refusal::OtherRole(role)) => other_role(zone, host, role),
            Denial::Refused(Refusal::NoRoot(role)) => zone.no_root_text(role),
            Denial::Refused(Refusal::Pinned(id)) => {
                let id = zone.rules.id_text(id);
                format!("{host} is pinned to {id}, which its role does not use")
            }
            Denial::Refused(Refusal::Full { sequence, limit }) => {
                let name = &zone.rules.sequence(sequence).name;
                // The text is always the same, since scripts log a text when it changes.
                let reclaim = match zone.rules.reclaim {
                    Some(reclaim) => format!(
                        "a number is reassigned {} after its lease expires",
                        humantime::format_duration(reclaim)
                    ),
                    None => "numbers are never reassigned: release one".to_owned(),
                };
                format!("all {limit} numbers of {name} are assigned; {reclaim}")
            }
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => {
                format!("another client holds the lease of {host}")
            }
            denial => return failure(denial),
        };
        (ResponseCode::Refused, reason.into())
    }
}

/// The reason why the host, which is registered with this role, gets no other.
pub(super) fn other_role(zone: &Zone, host: &Hostname, role: Role) -> String {
    let role = &zone.rules.role(role).name;
    format!("{host} is registered with the role {role}")
}

/// SERVFAIL with the reason, since the operation may succeed later; for an update,
/// the code and the reason of its refusal.
fn failure(denial: Denial) -> (ResponseCode, Cow<'static, str>) {
    let reason = match denial {
        Denial::NotWritten => "the service cannot write to its store",
        Denial::BeingReleased => {
            "not all replicas know yet that the last lease of the host has ended: ask again"
        }
        Denial::NoWriter => {
            "this replica of the service has no contact with the writer, or none is elected"
        }
        Denial::Late => "the writer of the service has not decided in time: ask again",
        Denial::OtherZones => {
            "the writer of the service has another definition of this zone, or none"
        }
        Denial::Stopping => "the service is stopping",
        Denial::Busy => "too many changes are waiting",
        Denial::CannotUpdate(refusal) => return (refusal.code, refusal.text.into()),
        // These have been answered.
        Denial::Refused(_) | Denial::CannotLeave(_) => "refused",
    };
    (ResponseCode::ServFail, reason.into())
}
