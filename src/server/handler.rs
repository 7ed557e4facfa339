//! A message in, what to do about it out.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use hickory_server::{net::xfer::Protocol, server::Request};

use super::{
    access::{Access, allows},
    forward::Forwarder,
    reply::{ExtendedError, Reply, bare},
    source::{Source, Transport},
    transfer::{Content, Transfer},
};
use crate::{
    clock::Clock,
    network::{Holder, Hostname, LeaveRefusal, Network, Refusal, Role},
    registry::{Denial, Published, Registry, Request as Change},
    zone::{QueryName, Who},
};

/// What to do about a message.
pub enum Outcome {
    /// Nothing: an answer, or less than a header.
    Silence,
    Reply(Vec<u8>),
    /// A reply that waits for the disk or for an upstream.
    Later(Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>),
    /// A zone, by TCP.
    Transfer(Box<Transfer>),
}

impl From<Option<Vec<u8>>> for Outcome {
    fn from(reply: Option<Vec<u8>>) -> Self {
        reply.map_or(Self::Silence, Self::Reply)
    }
}

/// Everything that an answer depends on.
pub struct Handler {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    access: Access,
    forwarder: Option<Forwarder>,
    clock: Clock,
}

/// A question about a name that registers.
struct Registering {
    /// The zone's place in the registry.
    place: usize,
    name: QueryName,
    rtype: RecordType,
    owner: Name,
    asker: Holder,
}

/// A refusal: its code and why.
type Refused = (ResponseCode, Option<ExtendedError>);

impl Handler {
    pub fn new(
        registry: Registry,
        access: Access,
        forwarder: Option<Forwarder>,
        clock: Clock,
    ) -> Self {
        let inner = Inner {
            registry,
            access,
            forwarder,
            clock,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Handles the message. Whatever can be answered at once is.
    pub fn handle(&self, packet: &[u8], source: Source) -> Outcome {
        // Less than a header, or an answer: never answered, so that two servers
        // cannot be made to talk to each other for ever.
        let Some(&[_, _, flags, _, questions_high, questions_low, ..]) = packet
            .get(..12)
            .and_then(|header| header.first_chunk::<12>())
        else {
            return Outcome::Silence;
        };
        if flags & 0x80 != 0 {
            return Outcome::Silence;
        }
        if OpCode::from_u8((flags >> 3) & 0xf) != OpCode::Query {
            return bare(packet, ResponseCode::NotImp).into();
        }
        // RFC 9619: a query has exactly one question.
        if u16::from_be_bytes([questions_high, questions_low]) != 1 {
            return bare(packet, ResponseCode::FormErr).into();
        }
        let protocol = match source.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        match Request::from_bytes(packet.to_vec(), source.address, protocol) {
            Ok(request) => self.inner.clone().handle(request, source),
            Err(_) => bare(packet, ResponseCode::FormErr).into(),
        }
    }
}

impl Inner {
    fn handle(self: Arc<Self>, request: Request, source: Source) -> Outcome {
        let mut reply = Reply::new(&request, source.transport, self.forwarder.is_some());
        if request.version() > 0 {
            return reply.error(ResponseCode::BADVERS, None).into();
        }
        if !allows(&self.access.query, source.ip()) {
            let error = ExtendedError::prohibited("your network may not query");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        let Some(query) = request.queries.queries().first() else {
            return reply.error(ResponseCode::FormErr, None).into();
        };
        if query.query_class() != DNSClass::IN {
            return reply.error(ResponseCode::Refused, None).into();
        }
        let owner = query.original().name().clone();
        let rtype = query.query_type();
        let Some((place, published)) = self.zone_of(&owner) else {
            return self.outside(request, source);
        };
        let zone = &published.zone;
        let name = zone.parse(&owner);
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            let published = published.clone();
            return self.transfer(request, source, &published, &name);
        }
        if !zone.registers(&name, rtype) {
            let network = published.network();
            return reply
                .answer(zone.answer(&network, &name, rtype, &owner))
                .into();
        }
        reply.by_address = true;
        if !allows(&self.access.register, source.ip()) {
            let error = ExtendedError::prohibited("your network may not register");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        if !source.is_proven() {
            return reply.truncated().into();
        }
        let asker = match asker(&request, source) {
            Ok(asker) => asker,
            Err((code, error)) => return reply.error(code, error).into(),
        };
        let registering = Registering {
            place,
            name,
            rtype,
            owner,
            asker,
        };
        if let Some(reply) = self.known(&reply, &registering) {
            return reply.into();
        }
        let transport = source.transport;
        Outcome::Later(Box::pin(async move {
            let mut reply = Reply::new(&request, transport, self.forwarder.is_some());
            reply.by_address = true;
            self.register(&reply, registering).await
        }))
    }

    /// The zone that the name is in: the one with the longest origin.
    fn zone_of(&self, name: &Name) -> Option<(usize, &Arc<Published>)> {
        let zones = self.registry.zones().iter().enumerate();
        zones
            .filter(|(_, published)| published.zone.contains(name))
            .max_by_key(|(_, published)| published.zone.origin.num_labels())
    }

    /// A name outside all zones.
    fn outside(self: Arc<Self>, request: Request, source: Source) -> Outcome {
        let reply = Reply::new(&request, source.transport, self.forwarder.is_some());
        if self.forwarder.is_none() || !request.metadata.recursion_desired {
            let error = ExtendedError::other("no zone of this service has that name");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        if !allows(&self.access.forward, source.ip()) {
            let error = ExtendedError::prohibited("names are not forwarded for your network");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        Outcome::Later(Box::pin(async move {
            let reply = Reply::new(&request, source.transport, true);
            let forwarded = match &self.forwarder {
                Some(forwarder) => forwarder.forward(&request).await,
                None => None,
            };
            match forwarded {
                Some(octets) if octets.len() <= reply.limit() => Some(octets),
                Some(_) => reply.truncated(),
                None => reply.error(
                    ResponseCode::ServFail,
                    Some(ExtendedError::other("no upstream resolver has answered")),
                ),
            }
        }))
    }

    fn transfer(
        self: Arc<Self>,
        request: Request,
        source: Source,
        published: &Published,
        name: &QueryName,
    ) -> Outcome {
        let recursive = self.forwarder.is_some();
        let reply = Reply::new(&request, source.transport, recursive);
        if !allows(&self.access.transfer, source.ip()) {
            let error = ExtendedError::prohibited("your network may not transfer zones");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        let content = match name {
            QueryName::Apex => Content::Zone,
            QueryName::Status => Content::Status(self.clock.now()),
            _ => {
                let error = ExtendedError::other("a transfer names the origin of a zone");
                return reply.error(ResponseCode::NotAuth, Some(error)).into();
            }
        };
        let zone = published.zone.clone();
        let network = published.network();
        if source.transport == Transport::Udp {
            let is_incremental =
                |query: &hickory_proto::op::LowerQuery| query.query_type() == RecordType::IXFR;
            // RFC 1995, section 2: the SOA alone says "ask by TCP". A full
            // transfer by UDP is not defined (RFC 5936, section 4.2).
            if request.queries.queries().iter().any(is_incremental) {
                let soa = zone.answer(&network, name, RecordType::SOA, &zone.origin);
                return reply.answer(soa).into();
            }
            return reply.error(ResponseCode::FormErr, None).into();
        }
        Outcome::Transfer(Box::new(Transfer {
            request,
            recursive,
            zone,
            network,
            content,
        }))
    }

    /// Answers a registered peer whose lease runs: the heartbeat. Takes no lock
    /// and writes nothing but the time in the lease.
    fn known(&self, reply: &Reply<'_>, registering: &Registering) -> Option<Option<Vec<u8>>> {
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
        runs.then(|| reply.answer(zone.peer_answer(&network, peer, who, *form, *rtype, owner)))
    }

    /// Lets the registry decide.
    async fn register(&self, reply: &Reply<'_>, registering: Registering) -> Option<Vec<u8>> {
        let Registering {
            place,
            name,
            rtype,
            owner,
            asker,
        } = registering;
        let zone = &self.registry.zones()[place].zone;
        match name {
            QueryName::Peer {
                who: Who::Host { host, role },
                form,
            } => {
                let request = Change::Register {
                    host: host.clone(),
                    role,
                    asker,
                };
                match self.registry.ask(place, request).await {
                    Ok(granted) => {
                        let who = Who::Host { host, role };
                        let (peer, network) = (&granted.peer, &granted.network);
                        reply.answer(zone.peer_answer(network, peer, &who, form, rtype, &owner))
                    }
                    Err(denial) => self.denied(reply, place, &host, denial),
                }
            }
            QueryName::Leave(host) => {
                let request = Change::Leave {
                    host: host.clone(),
                    asker,
                };
                match self.registry.ask(place, request).await {
                    Ok(granted) => reply.answer(zone.left_answer(&granted.peer, &owner)),
                    Err(denial) => self.denied(reply, place, &host, denial),
                }
            }
            _ => reply.error(ResponseCode::ServFail, None),
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
            Denial::Refused(Refusal::Full {
                sequence,
                limit,
                wait,
            }) => {
                let name = &rules.sequence(sequence).name;
                let until = match wait {
                    Some(wait) => format!(
                        "one may be reclaimed in {}s if its holder stays away",
                        wait.as_secs() + 1
                    ),
                    None => "none of their holders is gone".to_owned(),
                };
                let text = format!("all {limit} numbers of {name} are taken, and {until}");
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
            }
            Denial::CannotLeave(LeaveRefusal::Unknown) => {
                let network: Arc<Network> = published.network();
                return reply.answer(published.zone.nx_domain(&network));
            }
            Denial::CannotLeave(LeaveRefusal::NotTheHolder) => {
                let text = format!("the lease of {host} is held by another address");
                (ResponseCode::Refused, Some(ExtendedError::other(text)))
            }
            Denial::NotWritten => {
                let text = "the service cannot write to its store";
                (ResponseCode::ServFail, Some(ExtendedError::other(text)))
            }
            Denial::Busy => {
                let text = "too many registrations are waiting";
                (ResponseCode::ServFail, Some(ExtendedError::other(text)))
            }
        };
        reply.error(code, error)
    }

    fn other_role(&self, place: usize, host: &Hostname, role: Role) -> Refused {
        let role = &self.registry.zones()[place].zone.rules.role(role).name;
        let text = format!("{host} is registered with the role {role}");
        (ResponseCode::Refused, Some(ExtendedError::other(text)))
    }
}

/// Who asks: the source, and the address that it states with EDNS
/// CLIENT-SUBNET (RFC 7871) and a full prefix, or else the source itself.
fn asker(request: &Request, source: Source) -> Result<Holder, Refused> {
    let option = request
        .edns
        .as_ref()
        .and_then(|edns| edns.option(EdnsCode::Subnet));
    let Some(EdnsOption::Subnet(subnet)) = option else {
        return Ok(Holder {
            source: source.ip(),
            address: source.ip(),
        });
    };
    // RFC 7871, section 6: the scope is 0 in queries.
    if subnet.scope_prefix() != 0 {
        return Err((ResponseCode::FormErr, None));
    }
    let full = match subnet.addr() {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let address = match subnet.source_prefix() == full {
        true => subnet.addr().to_canonical(),
        false => source.ip(),
    };
    if !may_be_a_peers(address, source.ip()) {
        let text = format!("no peer can have the address {address}");
        let error = Some(ExtendedError::other(text));
        return Err((ResponseCode::Refused, error));
    }
    Ok(Holder {
        source: source.ip(),
        address,
    })
}

/// Whether other peers could reach a peer there.
fn may_be_a_peers(address: IpAddr, source: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified()
        && !address.is_multicast()
        && !is_broadcast
        && (!address.is_loopback() || source.is_loopback())
}
