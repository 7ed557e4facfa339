//! A message in, what to do about it out.

use std::sync::Arc;

use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{
        DNSClass, RData, RecordType,
        rdata::opt::{EdnsCode, NSIDPayload},
    },
};
use hickory_server::{net::xfer::Protocol, server::Request};

use super::{
    fast::{FastOutcome, FastPath},
    identity,
    outcome::Outcome,
    register::{Asking, Registering, asker},
    shared::Inner,
};
use crate::{
    clock::Clock,
    registry::{Decision, Granted, Published, Registry},
    server::{
        config::Config,
        extended_error::ExtendedError,
        forward::{self, Forwarded, Forwarder, local},
        policy::{
            cookie::{Cookie, Cookies},
            limits::{Limiter, Verdict},
            replay::Replays,
            source::{Source, Transport},
            tsig::{self, Signed},
        },
        reply::{Reply, Terms, bare},
        transfer::{Content, Transfer},
        wire,
    },
    zone::{Form, QueryName, Question},
};

/// Everything that an answer depends on.
pub struct Handler {
    inner: Arc<Inner>,
}

impl Handler {
    pub fn new(
        registry: Registry,
        config: &Config,
        forwarder: Option<Forwarder>,
        cookies: Arc<Cookies>,
        limits: Arc<Limiter>,
        clock: Clock,
    ) -> Self {
        let name = config.identity.name.clone();
        let nsid = name.and_then(|name| NSIDPayload::new(name).ok());
        let inner = Inner {
            registry,
            access: config.access.clone(),
            keys: config.keys.clone(),
            replays: Replays::new(tsig::now()),
            forwarder: forwarder.map(Arc::new),
            clock,
            cookies,
            limits,
            identity: config.identity.clone(),
            nsid,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The short way, for one thread.
    pub fn fast_path(&self) -> FastPath {
        FastPath::new(self.inner.clone())
    }

    /// Whether the source may ask anything at all.
    pub fn may_query(&self, source: Source) -> bool {
        self.inner.access.query.may_allow(source.ip)
    }

    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The reply to a plain query (one that [`FastPath`] has read) of which the
    /// registry has decided.
    pub(super) fn decided(
        &self,
        packet: &[u8],
        source: Source,
        asking: Asking,
        decision: Decision,
    ) -> Option<Vec<u8>> {
        let inner = &self.inner;
        let request = Request::from_bytes(packet.to_vec(), source.address, Protocol::Udp).ok()?;
        let mut terms = inner.terms(source, inner.cookies.read(&request, source.ip));
        terms.by_address = true;
        let query = request.queries.queries().first()?;
        let (owner, rtype) = (query.original().name(), query.query_type());
        let reply = Reply::new(&request, &terms);
        inner.decided(&reply, asking, Form::Plain, rtype, owner, decision)
    }

    /// The reply to a packet when the registry has decided.
    pub fn answer_decided(
        &self,
        fast_path: &mut FastPath,
        asking: Asking,
        (packet, source): (&[u8], Source),
        decision: Decision,
    ) -> Option<Vec<u8>> {
        if let Ok(Granted::Peer { peer, network, .. }) = &decision {
            let mut reply = Vec::with_capacity(REPLY_OCTETS);
            let granted = (peer, network);
            let short = fast_path.granted(asking.place, granted, packet, source, &mut reply);
            if short == FastOutcome::Reply {
                return Some(reply);
            }
        }
        self.decided(packet, source, asking, decision)
    }

    pub fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Handles the message. Whatever can be answered at once is.
    pub fn handle(&self, packet: &[u8], source: Source) -> Outcome {
        // Less than a header, or an answer: never answered, so that two servers
        // cannot be made to talk to each other for ever.
        let Some(&[_, _, flags, _, questions_high, questions_low, ..]) = packet.first_chunk::<12>()
        else {
            return Outcome::Silence;
        };
        if flags & 0x80 != 0 {
            return Outcome::Silence;
        }
        // RFC 9619: a query has exactly one question. Of more than that nothing
        // is read, since the number may be far from the truth.
        if u16::from_be_bytes([questions_high, questions_low]) > 1 {
            return self.unreadable(packet, ResponseCode::FormErr, source);
        }
        let protocol = match source.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        match Request::from_bytes(packet.to_vec(), source.address, protocol) {
            Ok(request) => self.inner.clone().handle(packet, request, source),
            Err(_) => {
                let code = match OpCode::from_u8((flags >> 3) & 0xf) {
                    OpCode::Query | OpCode::Update => ResponseCode::FormErr,
                    _ => ResponseCode::NotImp,
                };
                self.unreadable(packet, code, source)
            }
        }
    }

    /// What cannot be read proves nothing, and would not be asked again by TCP.
    fn unreadable(&self, packet: &[u8], code: ResponseCode, source: Source) -> Outcome {
        match self.inner.verdict(source, source.is_proven()) {
            Verdict::Send => bare(packet, code).into(),
            Verdict::Truncate | Verdict::Drop => Outcome::Silence,
        }
    }
}

impl Inner {
    fn handle(self: Arc<Self>, packet: &[u8], request: Request, source: Source) -> Outcome {
        let cookie = self.cookies.read(&request, source.ip);
        let signed = self.keys.check(packet, &request, tsig::now());
        // Whoever sent this receives at its address, or has a key.
        let proven = source.is_proven() || cookie.is_good() || matches!(signed, Signed::Good(_));
        // Before anything is done for an answer that may go to somebody else.
        let verdict = self.verdict(source, proven);
        if verdict == Verdict::Drop {
            return Outcome::Silence;
        }
        let mut terms = self.terms(source, cookie);
        terms.signature = signed.signature().cloned();
        let key = terms.key().cloned();
        let key = key.as_ref();
        let reply = Reply::new(&request, &terms);
        if verdict == Verdict::Truncate {
            return reply.truncated().into();
        }
        match signed {
            Signed::No | Signed::Good(_) => {}
            Signed::Malformed => return reply.error(ResponseCode::FormErr, None).into(),
            Signed::Bad(_) => return reply.error(ResponseCode::NotAuth, None).into(),
        }
        if request.version() > 0 {
            return reply.error(ResponseCode::BADVERS, None).into();
        }
        let op_code = request.metadata.op_code;
        if !matches!(op_code, OpCode::Query | OpCode::Update) {
            return reply.error(ResponseCode::NotImp, None).into();
        }
        if cookie == Cookie::Malformed || has_malformed_subnet(packet, &request) {
            return reply.error(ResponseCode::FormErr, None).into();
        }
        if op_code == OpCode::Update {
            // Truncation would be taken for success: `nsupdate` does not ask again.
            if !proven {
                let text = "the source of the update is not proven: send it by TCP or signed";
                let error = ExtendedError::prohibited(text);
                return reply.error(ResponseCode::Refused, Some(error)).into();
            }
            return self.update(request, terms, source);
        }
        if !self.access.query.allows(source.ip, key) {
            let error = ExtendedError::prohibited("your network may not query");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        let Some(query) = request.queries.queries().first() else {
            return reply.error(ResponseCode::FormErr, None).into();
        };
        let owner = query.original().name().clone();
        let rtype = query.query_type();
        if query.query_class() == DNSClass::CH
            && let Some(answer) = identity::answer(&self.identity, &owner, rtype)
        {
            return reply.answer(answer).into();
        }
        if query.query_class() != DNSClass::IN {
            return reply.error(ResponseCode::Refused, None).into();
        }
        let Some((place, published)) = self.zone_of(&owner) else {
            return self.outside(request, terms, source);
        };
        let zone = &published.zone;
        let name = zone.parse(&owner);
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            let published = published.clone();
            return self.transfer(request, terms, source, &published, &name);
        }
        if !zone.registers(&name, rtype) {
            let network = published.network();
            let question = Question {
                name: &name,
                asked: reply.asked(rtype, &owner),
                room: reply.limit(),
            };
            return reply.answer(zone.answer(&network, &question)).into();
        }
        terms.by_address = true;
        let reply = Reply::new(&request, &terms);
        // First of all, so that a forged source is sent no more than this.
        if !proven {
            return prove_yourself(&reply, cookie);
        }
        if let Some(signature) = terms.signature.as_ref()
            && let Err(replay) = self.replays.admit(signature, tsig::now())
        {
            let error = ExtendedError::prohibited(replay.to_string());
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        if !self.access.register.allows(source.ip, key) {
            let error = ExtendedError::prohibited("your network may not register");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        if let Some(demanded) = &zone.register_keys
            && !key.is_some_and(|key| demanded.has(key))
        {
            let text = "this zone registers only who signs with its key";
            let error = ExtendedError::prohibited(text);
            return reply.error(ResponseCode::Refused, Some(error)).into();
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
        Outcome::Later(Box::pin(async move {
            let reply = Reply::new(&request, &terms);
            self.register(&reply, registering).await
        }))
    }

    /// A name outside all zones.
    fn outside(self: Arc<Self>, request: Request, terms: Terms, source: Source) -> Outcome {
        let reply = Reply::new(&request, &terms);
        let Some(question) = request.queries.queries().first() else {
            return reply.error(ResponseCode::FormErr, None).into();
        };
        let (owner, rtype) = (question.original().name(), question.query_type());
        // By way of others no zone is transferred.
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            return no_such_zone(&reply);
        }
        if let Some(answer) = local::answer(owner, rtype, self.forwarder.is_some()) {
            return reply.answer(answer).into();
        }
        // Nobody is asked on behalf of a resolver that asks the servers itself.
        let is_recursive = request.metadata.recursion_desired;
        let Some(forwarder) = self.forwarder.as_ref().filter(|_| is_recursive) else {
            return no_such_zone(&reply);
        };
        if !self.access.forward.allows(source.ip, terms.key()) {
            let error = ExtendedError::prohibited("names are not forwarded for your network");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        let admitted = match forwarder.admit(source.ip) {
            Ok(admitted) => admitted,
            Err(why) => {
                let error = Some(ExtendedError::other(why));
                return reply.error(ResponseCode::ServFail, error).into();
            }
        };
        let Some(query) = forward::Query::new(&request) else {
            return reply.error(ResponseCode::FormErr, None).into();
        };
        let forwarded = forwarder.clone().forward(query, admitted);
        Outcome::Later(Box::pin(async move {
            let reply = Reply::new(&request, &terms);
            let Forwarded { response, error } = forwarded.await;
            let Some(response) = response else {
                return reply.error(ResponseCode::ServFail, error);
            };
            let errors = response.errors.into_iter().chain(error).collect();
            reply.forwarded(response.message, response.code, errors)
        }))
    }

    fn transfer(
        self: Arc<Self>,
        request: Request,
        terms: Terms,
        source: Source,
        published: &Published,
        name: &QueryName,
    ) -> Outcome {
        let reply = Reply::new(&request, &terms);
        if !self.access.transfer.allows(source.ip, terms.key()) {
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
        // RFC 1995, section 2: whoever has this serial, or asks by UDP, is given
        // the SOA alone; everyone else the whole zone, since no differences are
        // kept.
        if let Some(serial) = incremental(&request) {
            let newer = (network.revision() as u32).wrapping_sub(serial) as i32;
            if newer <= 0 || source.transport == Transport::Udp {
                return reply.answer(zone.soa_answer(&network)).into();
            }
        }
        // A full transfer by UDP is not defined (RFC 5936, section 4.2).
        if source.transport == Transport::Udp {
            return reply.error(ResponseCode::FormErr, None).into();
        }
        Outcome::Transfer(Box::new(Transfer {
            request,
            terms,
            zone,
            network,
            content,
        }))
    }
}

/// What is sent for a name that is for other servers.
fn no_such_zone(reply: &Reply<'_>) -> Outcome {
    let error = ExtendedError::other("no zone of this service has that name");
    reply.error(ResponseCode::Refused, Some(error)).into()
}

/// What is sent to a source that proves nothing, so that it asks again.
fn prove_yourself(reply: &Reply<'_>, cookie: Cookie) -> Outcome {
    match cookie {
        // RFC 7873, section 5.2.3: the client asks again with the cookie that it
        // is given here.
        Cookie::Unproven(_) => reply.error(ResponseCode::BADCOOKIE, None).into(),
        _ => reply.truncated().into(),
    }
}

/// The serial that the client of an incremental transfer has.
fn incremental(request: &Request) -> Option<u32> {
    let query = request.queries.queries().first()?;
    if query.query_type() != RecordType::IXFR {
        return None;
    }
    request
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
}

/// Whether there is a CLIENT-SUBNET option that is not as RFC 7871, section 6,
/// wants it. hickory reads over what stands behind its address.
fn has_malformed_subnet(packet: &[u8], request: &Request) -> bool {
    let edns = request.edns.as_ref();
    edns.is_some_and(|edns| edns.option(EdnsCode::Subnet).is_some())
        && wire::subnet_in(packet).and_then(wire::subnet).is_none()
}

/// What most replies have room in.
const REPLY_OCTETS: usize = 320;
