//! The reply to a message that had to wait.

use hickory_proto::op::ResponseCode;

use super::{
    pending::{Pending, Registration, Work},
    responder::Responder,
};
use crate::{
    network::{Holder, Hostname, LeaveRefusal, Refusal, Role},
    registry::{Action, Decision, Denial, Grant},
    server::{
        extended_error::ExtendedError,
        forward::Forwarded,
        policy::{client::Client, cookie, limits::NewHost, tsig::Signature},
        reply::Reply,
    },
    zone::{Answer, Lookup},
};

/// What most replies have room in.
const REPLY_OCTETS: usize = 320;

/// What has become of what a reply waited for.
enum Conclusion {
    /// A peer was granted.
    Granted(Grant),
    Answer(Answer),
    Error(ResponseCode, Option<ExtendedError>),
    Forwarded(Forwarded),
}

impl Responder {
    /// Waits, and gives the reply.
    pub async fn finish(&self, mut pending: Pending) -> Option<Vec<u8>> {
        let refused = |error| Conclusion::Error(ResponseCode::Refused, Some(error));
        let conclusion = match &mut pending.work {
            Work::Register(registration) => match self.admit(registration) {
                Ok(new_host) => {
                    let action = registration.action();
                    let decision = self.registry.request(registration.zone, action).await;
                    self.settle(new_host, &decision);
                    return self.conclude(&pending, decision);
                }
                Err(error) => refused(error),
            },
            Work::Leave { zone, host, asker } => {
                let (zone, host, asker) = (*zone, host.clone(), *asker);
                match self.may_leave(zone, &host, &asker) {
                    Ok(()) => {
                        let action = Action::Leave {
                            host,
                            client: asker,
                        };
                        let decision = self.registry.request(zone, action).await;
                        return self.conclude(&pending, decision);
                    }
                    Err(error) => refused(error),
                }
            }
            Work::Update { zone, update } => {
                let action = Action::Update(update.clone());
                let decision = self.registry.request(*zone, action).await;
                return self.conclude(&pending, decision);
            }
            Work::Forward(forwarded) => Conclusion::Forwarded(forwarded.await),
        };
        self.reply(&pending, conclusion)
    }

    /// Whether the host may ask the registry; if not, the error to tell it.
    pub fn admit(&self, registration: &Registration) -> Result<Option<NewHost>, ExtendedError> {
        let Registration {
            zone, host, asker, ..
        } = registration;
        let network = self.registry.zones()[*zone].network();
        let now = self.clock.now();
        self.policy.admit(*zone, host, asker, &network, now)
    }

    /// What was admitted as a new host was perhaps none.
    pub fn settle(&self, new_host: Option<NewHost>, decision: &Decision) {
        let is_new = matches!(decision, Ok(Grant::Peer { is_new: true, .. }));
        if let Some(new_host) = new_host.filter(|_| !is_new) {
            self.policy.give_back(new_host);
        }
    }

    /// The end of a lease counts as a change of its holder.
    fn may_leave(&self, zone: usize, host: &Hostname, asker: &Holder) -> Result<(), ExtendedError> {
        let network = self.registry.zones()[zone].network();
        let peer = network.host(host).filter(|peer| peer.holder == *asker);
        match peer.is_some_and(|peer| network.is_live(peer.id)) {
            true => self.policy.may_change(zone, host, asker, self.clock.now()),
            false => Ok(()),
        }
    }

    /// The reply to a host that may not ask the registry.
    pub fn refused(&self, pending: &Pending, error: ExtendedError) -> Option<Vec<u8>> {
        let refused = Conclusion::Error(ResponseCode::Refused, Some(error));
        self.reply(pending, refused)
    }

    /// The reply when the registry has decided.
    pub fn conclude(&self, pending: &Pending, decision: Decision) -> Option<Vec<u8>> {
        let conclusion = match (&pending.work, decision) {
            (Work::Register(_), Ok(granted @ Grant::Peer { .. })) => Conclusion::Granted(granted),
            (Work::Leave { zone, .. }, Ok(Grant::Peer { peer, .. })) => {
                let zone = &self.registry.zones()[*zone].zone;
                Conclusion::Answer(zone.left_answer(&peer, &pending.owner()?))
            }
            (Work::Update { .. }, Ok(_)) => Conclusion::Error(ResponseCode::NoError, None),
            (_, Ok(_)) => Conclusion::Error(ResponseCode::ServFail, None),
            (Work::Register(Registration { zone, host, .. }), Err(denial))
            | (Work::Leave { zone, host, .. }, Err(denial)) => self.denied(*zone, host, denial),
            (_, Err(denial)) => not_served(denial),
        };
        self.reply(pending, conclusion)
    }

    /// Writes the reply.
    fn reply(&self, pending: &Pending, conclusion: Conclusion) -> Option<Vec<u8>> {
        let query = pending.query()?;
        let signature = pending.signature.as_ref();
        let cookies = self.policy.cookies.at(cookie::now());
        let key = signature.and_then(Signature::key);
        let client = Client::of(&query, &pending.source, key, &cookies);
        let reply = Reply {
            query: &query,
            client: &client,
            cookies: &cookies,
            terms: &self.terms,
            signature,
            by_address: pending.by_address,
        };
        let mut out = Vec::with_capacity(REPLY_OCTETS);
        match conclusion {
            Conclusion::Granted(granted) => {
                let (Grant::Peer { peer, view, .. }, Work::Register(registration)) =
                    (&granted, &pending.work)
                else {
                    return None;
                };
                let found = Lookup::Host {
                    peer,
                    in_role: registration.role.is_some(),
                };
                reply.begin(&mut out);
                let (form, rtype) = (registration.form, query.rtype());
                match view.write(&found, form, rtype, pending.source.server, &mut out) {
                    Ok(written) => reply.records(written, None, &mut out),
                    Err(why) => {
                        let answer = view.without_records(&found, why, &pending.owner()?);
                        reply.answer(answer, &mut out);
                    }
                }
            }
            Conclusion::Answer(answer) => reply.answer(answer, &mut out),
            Conclusion::Error(code, error) => reply.error(code, error, &mut out),
            Conclusion::Forwarded(Forwarded { response, error }) => match response {
                Some(response) => {
                    let errors: Vec<_> = response.errors.into_iter().chain(error).collect();
                    reply.forwarded(&response.message, response.code, &errors, &mut out);
                }
                None => reply.error(ResponseCode::ServFail, error, &mut out),
            },
        }
        (!out.is_empty()).then_some(out)
    }

    fn denied(&self, zone: usize, host: &Hostname, denial: Denial) -> Conclusion {
        let published = &self.registry.zones()[zone];
        let rules = &published.zone.rules;
        let error = match denial {
            Denial::Refused(Refusal::OtherRole(role)) => self.other_role(zone, host, role),
            Denial::Refused(Refusal::NoRoot(role)) => {
                ExtendedError::other(published.zone.no_root_text(role))
            }
            Denial::Refused(Refusal::Pinned(id)) => {
                let id = rules.id_text(id);
                let text = format!("{host} is to be {id}, which its role does not draw from");
                ExtendedError::other(text)
            }
            Denial::Refused(Refusal::Full { sequence, limit }) => {
                let name = &rules.sequence(sequence).name;
                // The same words each time, since scripts log what is new.
                let until = match rules.reclaim {
                    Some(reclaim) => format!(
                        "one passes on when its holder's lease ran out {} ago",
                        humantime::format_duration(reclaim)
                    ),
                    None => "none ever passes on: release one".to_owned(),
                };
                let text = format!("all {limit} numbers of {name} are taken, and {until}");
                ExtendedError::other(text)
            }
            Denial::CannotLeave(LeaveRefusal::Unknown) => {
                let network = published.network();
                return Conclusion::Answer(published.zone.nx_domain(&network));
            }
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => {
                ExtendedError::other(format!("the lease of {host} is held by another address"))
            }
            denial => return not_served(denial),
        };
        Conclusion::Error(ResponseCode::Refused, Some(error))
    }

    pub(super) fn other_role(&self, zone: usize, host: &Hostname, role: Role) -> ExtendedError {
        let role = &self.registry.zones()[zone].zone.rules.role(role).name;
        ExtendedError::other(format!("{host} is registered with the role {role}"))
    }
}

/// What was asked for might be granted at another time, unless it is refused.
fn not_served(denial: Denial) -> Conclusion {
    let text = match denial {
        Denial::NotWritten => "the service cannot write to its store",
        Denial::Stopping => "the service is stopping",
        Denial::Busy => "too many changes are waiting",
        Denial::CannotUpdate(refusal) => {
            let error = ExtendedError::other(refusal.text);
            return Conclusion::Error(refusal.code, Some(error));
        }
        // These have an answer of their own.
        Denial::Refused(_) | Denial::CannotLeave(_) => "refused",
    };
    Conclusion::Error(ResponseCode::ServFail, Some(ExtendedError::other(text)))
}
