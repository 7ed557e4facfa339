//! Questions that register, renew a lease or end it.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use hickory_server::server::Request;

use super::shared::Inner;
use crate::{
    network::{Holder, Hostname, LeaveRefusal, Refusal, Role},
    registry::{Action, Decision, Denial, Granted},
    server::{
        extended_error::ExtendedError,
        policy::{limits::NewHost, source::Source},
        reply::Reply,
    },
    zone::{Form, QueryName, Who},
};

/// A question about a name that registers.
pub(super) struct Registering {
    /// The zone's place in the registry.
    pub place: usize,
    pub name: QueryName,
    pub rtype: RecordType,
    pub owner: Name,
    pub asker: Holder,
}

/// A host that asks for its parameters.
pub struct Asking {
    /// The zone's place in the registry.
    pub place: usize,
    pub host: Hostname,
    pub role: Option<Role>,
    pub asker: Holder,
}

impl Asking {
    /// What is asked of the registry.
    pub fn action(&self) -> Action {
        Action::Register {
            host: self.host.clone(),
            role: self.role,
            asker: self.asker,
        }
    }
}

/// What somebody asks for too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    NewHosts,
    Changes,
}

/// A refusal: its code and why.
pub(super) type Refused = (ResponseCode, Option<ExtendedError>);

impl Inner {
    /// Answers a registered peer whose lease runs: the heartbeat. Takes no lock
    /// and writes nothing but the time in the lease.
    pub(super) fn known(
        &self,
        reply: &Reply<'_>,
        registering: &Registering,
    ) -> Option<Option<Vec<u8>>> {
        let Registering {
            place,
            name,
            rtype,
            owner,
            asker,
        } = registering;
        let QueryName::Peer { who, form } = name else {
            return None;
        };
        let Who::Host { host, role } = who else {
            return None;
        };
        let published = &self.registry.zones()[*place];
        let network = published.network();
        let peer = network.host(host)?;
        if role.is_some_and(|role| role != peer.role) {
            let (code, error) = self.other_role(*place, host, peer.role);
            return Some(reply.error(code, error));
        }
        let (now, lasting) = (self.clock.now(), network.rules().lease);
        let runs = match peer.holder == *asker {
            true => peer.lease.renew(now, lasting),
            false => peer.lease.runs(now, lasting),
        };
        let zone = &published.zone;
        runs.then(|| {
            let asked = reply.asked(*rtype, owner);
            reply.answer(zone.peer_answer(&network, peer, who, *form, &asked))
        })
    }

    /// Lets the registry decide.
    pub(super) async fn register(
        &self,
        reply: &Reply<'_>,
        registering: Registering,
    ) -> Option<Vec<u8>> {
        let Registering {
            place,
            name,
            rtype,
            owner,
            asker,
        } = registering;
        let published = &self.registry.zones()[place];
        let zone = &published.zone;
        match name {
            QueryName::Peer {
                who: Who::Host { host, role },
                form,
            } => {
                let asking = Asking {
                    place,
                    host,
                    role,
                    asker,
                };
                let new_host = match self.admit(&asking) {
                    Ok(new_host) => new_host,
                    Err(too_much) => {
                        let error = ExtendedError::other(self.reason(too_much, asker.source));
                        return reply.error(ResponseCode::Refused, Some(error));
                    }
                };
                let decision = self.registry.ask(place, asking.action()).await;
                self.settle(new_host, &decision);
                self.decided(reply, asking, form, rtype, &owner, decision)
            }
            QueryName::Leave(host) => {
                let network = published.network();
                let peer = network.host(&host).filter(|peer| peer.holder == asker);
                let ends = peer.is_some_and(|peer| network.is_live(peer.id));
                if ends && !self.limits.may_change(place, &host, self.clock.now()) {
                    let error = ExtendedError::other(self.limits.refuse_change(asker.source));
                    return reply.error(ResponseCode::Refused, Some(error));
                }
                let action = Action::Leave {
                    host: host.clone(),
                    asker,
                };
                match self.registry.ask(place, action).await {
                    Ok(Granted::Peer { peer, .. }) => reply.answer(zone.left_answer(&peer, &owner)),
                    Ok(Granted::Updated) => reply.error(ResponseCode::ServFail, None),
                    Err(denial) => self.denied(reply, place, &host, denial),
                }
            }
            _ => reply.error(ResponseCode::ServFail, None),
        }
    }

    /// Whether the host may ask the registry: a source may register only so many
    /// that nobody knows, and a host may change its holder only so often. Who gives
    /// up while the disk hangs has used that up: the host may be registered yet.
    pub fn admit(&self, asking: &Asking) -> Result<Option<NewHost>, TooMuch> {
        let Asking {
            place, host, asker, ..
        } = asking;
        let network = self.registry.zones()[*place].network();
        let now = self.clock.now();
        let Some(peer) = network.host(host) else {
            let new_host = self.limits.new_host(asker.source, now);
            return new_host.map(Some).ok_or(TooMuch::NewHosts);
        };
        // While a lease runs, nobody else gets it.
        let changes = peer.holder != *asker && !peer.lease.runs(now, network.rules().lease);
        if changes && !self.limits.may_change(*place, host, now) {
            return Err(TooMuch::Changes);
        }
        Ok(None)
    }

    /// Counts what is too much, and says why.
    fn reason(&self, too_much: TooMuch, source: IpAddr) -> &str {
        match too_much {
            TooMuch::NewHosts => self.limits.refuse_new_host(source),
            TooMuch::Changes => self.limits.refuse_change(source),
        }
    }

    /// What was admitted as a new host was perhaps none.
    pub fn settle(&self, new_host: Option<NewHost>, decision: &Decision) {
        let is_new = matches!(decision, Ok(Granted::Peer { is_new: true, .. }));
        if let Some(new_host) = new_host.filter(|_| !is_new) {
            self.limits.give_back(new_host);
        }
    }

    /// The reply to a host when the registry has decided.
    pub(super) fn decided(
        &self,
        reply: &Reply<'_>,
        asking: Asking,
        form: Form,
        rtype: RecordType,
        owner: &Name,
        decision: Decision,
    ) -> Option<Vec<u8>> {
        let Asking {
            place, host, role, ..
        } = asking;
        let zone = &self.registry.zones()[place].zone;
        match decision {
            Ok(Granted::Peer { peer, network, .. }) => {
                let who = Who::Host { host, role };
                let asked = reply.asked(rtype, owner);
                reply.answer(zone.peer_answer(&network, &peer, &who, form, &asked))
            }
            Ok(Granted::Updated) => reply.error(ResponseCode::ServFail, None),
            Err(denial) => self.denied(reply, place, &host, denial),
        }
    }

    fn denied(
        &self,
        reply: &Reply<'_>,
        place: usize,
        host: &Hostname,
        denial: Denial,
    ) -> Option<Vec<u8>> {
        let published = &self.registry.zones()[place];
        let rules = &published.zone.rules;
        let (code, error) = match denial {
            Denial::Refused(Refusal::OtherRole(role)) => self.other_role(place, host, role),
            Denial::Refused(Refusal::NoRoot(role)) => {
                let text = published.zone.no_root_text(role);
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
            }
            Denial::Refused(Refusal::Pinned(id)) => {
                let id = rules.id_text(id);
                let text = format!("{host} is to be {id}, which its role does not draw from");
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
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
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
            }
            Denial::CannotLeave(LeaveRefusal::Unknown) => {
                let network = published.network();
                return reply.answer(published.zone.nx_domain(&network));
            }
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => {
                let text = format!("the lease of {host} is held by another address");
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
            }
            denial => return self.not_served(reply, &denial),
        };
        reply.error(code, error)
    }

    /// What was asked for might be granted at another time.
    pub(super) fn not_served(&self, reply: &Reply<'_>, denial: &Denial) -> Option<Vec<u8>> {
        let text = match denial {
            Denial::NotWritten => "the service cannot write to its store",
            Denial::Stopping => "the service is stopping",
            Denial::Busy => "too many changes are waiting",
            // Those that are refused have an answer of their own.
            Denial::Refused(_) | Denial::CannotLeave(_) | Denial::CannotUpdate(_) => "refused",
        };
        reply.error(ResponseCode::ServFail, Some(ExtendedError::other(text)))
    }

    fn other_role(&self, place: usize, host: &Hostname, role: Role) -> Refused {
        let role = &self.registry.zones()[place].zone.rules.role(role).name;
        let text = format!("{host} is registered with the role {role}");
        (ResponseCode::Refused, Some(ExtendedError::other(text)))
    }
}

/// Who asks: the source, and the address that it states with EDNS
/// CLIENT-SUBNET (RFC 7871) and a full prefix, or else the source itself.
pub(super) fn asker(request: &Request, source: Source) -> Result<Holder, Refused> {
    let option = request
        .edns
        .as_ref()
        .and_then(|edns| edns.option(EdnsCode::Subnet));
    let stated_subnet = match option {
        Some(EdnsOption::Subnet(subnet)) => Some((subnet.addr(), subnet.source_prefix())),
        _ => None,
    };
    match stated(stated_subnet, source.ip) {
        Some(address) => Ok(Holder {
            source: source.ip,
            address,
        }),
        None => {
            let address = stated_subnet.map_or(source.ip, |(address, _)| address);
            let text = format!("no peer can have the address {address}");
            Err((ResponseCode::Refused, Some(ExtendedError::other(text))))
        }
    }
}

/// The address that is stated with a full prefix, or else the source; `None`
/// where it is one that no peer can have.
pub(super) fn stated(subnet: Option<(IpAddr, u8)>, source: IpAddr) -> Option<IpAddr> {
    let Some((address, prefix)) = subnet else {
        return Some(source);
    };
    let full = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let address = match prefix == full {
        true => address.to_canonical(),
        false => source,
    };
    may_be_a_peers(address, source).then_some(address)
}

/// Whether other peers could reach a peer there. Loopback is for who is on this
/// machine.
fn may_be_a_peers(address: IpAddr, source: IpAddr) -> bool {
    if address.is_loopback() {
        return source.is_loopback();
    }
    match address {
        // "This network" and the reserved block, which includes the broadcast
        // address (RFC 6890, section 2.2.2), are nobody's.
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && first < 240 && !v4.is_multicast()
        }
        // The unspecified address and those that once embedded an IPv4 one
        // (RFC 4291, section 2.5.5.1), and the discard prefix (RFC 6666).
        IpAddr::V6(v6) => {
            let is_compatible = v6.segments()[..6] == [0; 6];
            let is_discard = v6.segments()[..4] == [0x100, 0, 0, 0];
            !is_compatible && !is_discard && !v6.is_multicast()
        }
    }
}
