//! The replies that had to wait for the registry or an upstream.

use hickory_proto::op::ResponseCode;

use super::{
    pending::{Operation, Pending, RegistrationRequest},
    responder::Responder,
};
use crate::{
    network::{Holder, Hostname, LeaveRefusal, Refusal, Role},
    registry::{Action, Decision, Denial, Grant},
    server::{
        extended_error::ExtendedError,
        forward::ForwardResult,
        policy::{client::Client, cookie, limits::NewHostPermit, tsig::Signature},
        reply::Reply,
    },
    zone::{Answer, Lookup},
};

/// The initial capacity of a reply, which suffices for most.
const REPLY_OCTETS: usize = 320;

/// The content of a reply.
enum ReplyContent {
    /// The parameters of a registered peer.
    Granted(Grant),
    Answer(Answer),
    Error(ResponseCode, Option<ExtendedError>),
    Forwarded(ForwardResult),
}

impl ReplyContent {
    fn refused(error: ExtendedError) -> Self {
        Self::Error(ResponseCode::Refused, Some(error))
    }
}

impl Responder {
    /// Completes the operation, and returns the reply.
    pub async fn finish(&self, mut pending: Pending) -> Option<Vec<u8>> {
        let (zone, action, new_host) = match &mut pending.operation {
            Operation::Register(request) => match self.admit(request) {
                Ok(new_host) => (request.zone, request.action(), new_host),
                Err(error) => return self.reply_refused(&pending, error),
            },
            Operation::Leave { zone, host, asker } => {
                if let Err(error) = self.may_leave(*zone, host, asker) {
                    return self.reply_refused(&pending, error);
                }
                let (host, asker) = (host.clone(), *asker);
                (
                    *zone,
                    Action::Leave {
                        host,
                        client: asker,
                    },
                    None,
                )
            }
            Operation::Update { zone, update } => (*zone, Action::Update(update.clone()), None),
            Operation::Forward(forwarding) => {
                let content = ReplyContent::Forwarded(forwarding.await);
                return self.reply(&pending, content);
            }
        };
        let decision = self.registry.request(zone, action).await;
        self.refund_unless_new(new_host, &decision);
        self.reply_to_decision(&pending, decision)
    }

    /// Applies the limits of new hosts and of changes to a registration.
    pub fn admit(
        &self,
        request: &RegistrationRequest,
    ) -> Result<Option<NewHostPermit>, ExtendedError> {
        let network = self.registry.zones()[request.zone].network();
        let (host, now) = (&request.host, self.clock.now());
        self.policy
            .admit(request.zone, host, &request.asker, &network, now)
    }

    /// Refunds the permit unless a new host was registered.
    pub fn refund_unless_new(&self, new_host: Option<NewHostPermit>, decision: &Decision) {
        let is_new = matches!(decision, Ok(Grant::Peer { is_new: true, .. }));
        if let Some(new_host) = new_host.filter(|_| !is_new) {
            self.policy.refund(new_host);
        }
    }

    /// Returns whether the client may release the host. The release of a running
    /// lease counts as a change of its holder.
    fn may_leave(&self, zone: usize, host: &Hostname, asker: &Holder) -> Result<(), ExtendedError> {
        let network = self.registry.zones()[zone].network();
        let peer = network.host(host).filter(|peer| peer.holder == *asker);
        if peer.is_some_and(|peer| network.is_live(peer.id)) {
            self.policy
                .may_change(zone, host, asker, self.clock.now())?;
        }
        Ok(())
    }

    /// The reply to a registration that a limit refuses.
    pub fn reply_refused(&self, pending: &Pending, error: ExtendedError) -> Option<Vec<u8>> {
        self.reply(pending, ReplyContent::refused(error))
    }

    /// The reply with the decision of the registry.
    pub fn reply_to_decision(&self, pending: &Pending, decision: Decision) -> Option<Vec<u8>> {
        let content = match (&pending.operation, decision) {
            (Operation::Register(_), Ok(granted @ Grant::Peer { .. })) => {
                ReplyContent::Granted(granted)
            }
            (Operation::Leave { zone, .. }, Ok(Grant::Peer { peer, .. })) => {
                let zone = &self.registry.zones()[*zone].zone;
                ReplyContent::Answer(zone.left_answer(&peer, &pending.owner()?))
            }
            (Operation::Update { .. }, Ok(_)) => ReplyContent::Error(ResponseCode::NoError, None),
            (_, Ok(_)) => ReplyContent::Error(ResponseCode::ServFail, None),
            (Operation::Register(RegistrationRequest { zone, host, .. }), Err(denial))
            | (Operation::Leave { zone, host, .. }, Err(denial)) => {
                self.denial_reply(*zone, host, denial)
            }
            (_, Err(denial)) => failure_reply(denial),
        };
        self.reply(pending, content)
    }

    /// Writes the reply.
    fn reply(&self, pending: &Pending, content: ReplyContent) -> Option<Vec<u8>> {
        let query = pending.query()?;
        let signature = pending.signature.as_ref();
        let cookies = self.policy.cookies.snapshot(cookie::now());
        let key = signature.and_then(Signature::key);
        let client = Client::of(&query, &pending.source, key, &cookies);
        let reply = Reply {
            query: &query,
            client: &client,
            cookies: &cookies,
            server_info: &self.server_info,
            signature,
            depends_on_subnet: pending.depends_on_subnet,
        };
        let mut out = Vec::with_capacity(REPLY_OCTETS);
        match content {
            ReplyContent::Granted(granted) => {
                let (Grant::Peer { peer, view, .. }, Operation::Register(registration)) =
                    (&granted, &pending.operation)
                else {
                    return None;
                };
                let lookup = Lookup::Host {
                    peer,
                    in_role: registration.role.is_some(),
                };
                reply.begin(&mut out);
                let (form, rtype) = (registration.form, query.rtype());
                match view.write(&lookup, form, rtype, pending.source.server, &mut out) {
                    Ok(written) => reply.records(written, None, &mut out),
                    Err(reason) => {
                        let answer = view.without_records(&lookup, reason, &pending.owner()?);
                        reply.answer(answer, &mut out);
                    }
                }
            }
            ReplyContent::Answer(answer) => reply.answer(answer, &mut out),
            ReplyContent::Error(code, error) => reply.error(code, error, &mut out),
            ReplyContent::Forwarded(ForwardResult { response, error }) => match response {
                Some(response) => {
                    let errors: Vec<_> = response.errors.into_iter().chain(error).collect();
                    reply.forwarded(&response.message, response.code, &errors, &mut out);
                }
                None => reply.error(ResponseCode::ServFail, error, &mut out),
            },
        }
        (!out.is_empty()).then_some(out)
    }

    fn denial_reply(&self, zone: usize, host: &Hostname, denial: Denial) -> ReplyContent {
        let published = &self.registry.zones()[zone];
        let rules = &published.zone.rules;
        let error = match denial {
            Denial::Refused(Refusal::OtherRole(role)) => self.other_role(zone, host, role),
            Denial::Refused(Refusal::NoRoot(role)) => {
                ExtendedError::other(published.zone.no_root_text(role))
            }
            Denial::Refused(Refusal::Pinned(id)) => {
                let id = rules.id_text(id);
                let text = format!("{host} is pinned to {id}, which its role does not use");
                ExtendedError::other(text)
            }
            Denial::Refused(Refusal::Full { sequence, limit }) => {
                let name = &rules.sequence(sequence).name;
                // The text is always the same, since scripts log a text when it changes.
                let reclaim = match rules.reclaim {
                    Some(reclaim) => format!(
                        "a number is reassigned {} after its lease expires",
                        humantime::format_duration(reclaim)
                    ),
                    None => "numbers are never reassigned: release one".to_owned(),
                };
                let text = format!("all {limit} numbers of {name} are assigned; {reclaim}");
                ExtendedError::other(text)
            }
            Denial::CannotLeave(LeaveRefusal::Unknown) => {
                let network = published.network();
                return ReplyContent::Answer(published.zone.nx_domain(&network));
            }
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => {
                ExtendedError::other(format!("another client holds the lease of {host}"))
            }
            denial => return failure_reply(denial),
        };
        ReplyContent::refused(error)
    }

    pub(super) fn other_role(&self, zone: usize, host: &Hostname, role: Role) -> ExtendedError {
        let role = &self.registry.zones()[zone].zone.rules.role(role).name;
        ExtendedError::other(format!("{host} is registered with the role {role}"))
    }
}

/// SERVFAIL with the reason, since the operation may succeed later; for an update,
/// the code and the reason of its refusal.
fn failure_reply(denial: Denial) -> ReplyContent {
    let text = match denial {
        Denial::NotWritten => "the service cannot write to its store",
        Denial::BeingReleased => {
            "not all replicas know yet that the host was released or has left: ask again"
        }
        Denial::NoWriter => "this replica of the service has no contact with the writer",
        Denial::Stopping => "the service is stopping",
        Denial::Busy => "too many changes are waiting",
        Denial::CannotUpdate(refusal) => {
            let error = ExtendedError::other(refusal.text);
            return ReplyContent::Error(refusal.code, Some(error));
        }
        // `denial_reply` answers these.
        Denial::Refused(_) | Denial::CannotLeave(_) => "refused",
    };
    ReplyContent::Error(ResponseCode::ServFail, Some(ExtendedError::other(text)))
}
