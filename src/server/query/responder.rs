//! The path of a query: it is read once, decided by the policy, and looked up in the
//! published state; then the reply is written.

use std::{borrow::Cow, sync::Arc};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::RecordType,
};

use super::{
    Outcome, identity,
    pending::{Operation, Pending},
    snapshot::{Snapshot, ZoneQuery},
};
use crate::{
    clock::Clock,
    registry::Registry,
    server::{
        config::{Config, Identity},
        extended_error::ExtendedError,
        forward::Forwarder,
        policy::{
            Policy, PolicyError,
            client::Client,
            cookie::Cookies,
            limits::{Limiter, Verdict},
            source::Source,
            tsig::TsigStatus,
        },
        reply::{Reply, ServerInfo, write_header_only},
        wire::{CH, HEADER, IN, Query},
    },
};

/// Everything that an answer depends on.
pub struct Responder {
    pub registry: Registry,
    pub policy: Policy,
    pub clock: Clock,
    pub(super) forwarder: Option<Arc<Forwarder>>,
    identity: Identity,
    pub(super) server_info: ServerInfo,
}

/// A message on the slow path, as hickory's parser has read it.
#[derive(Clone, Copy)]
pub(super) struct ParsedMessage<'m> {
    pub message: &'m Message,
    tsig: &'m TsigStatus,
}

/// A message and the reply to it.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub snapshot: &'a Snapshot,
    pub zone_query: &'a ZoneQuery<'a>,
    /// `None` on the fast path.
    pub parsed: Option<ParsedMessage<'a>>,
    pub reply: Reply<'a>,
}

impl<'a> Exchange<'a> {
    pub fn query(&self) -> &'a Query<'a> {
        &self.zone_query.query
    }

    pub fn client(&self) -> &'a Client<'a> {
        self.reply.client
    }

    /// Defers the reply until the operation has ended.
    pub fn defer(&self, operation: Operation) -> Outcome {
        Outcome::Pending(Box::new(Pending {
            packet: self.query().packet.to_vec(),
            source: *self.client().source,
            signature: self.reply.signature.cloned(),
            depends_on_subnet: self.reply.depends_on_subnet,
            operation,
        }))
    }

    pub fn error(
        &self,
        code: ResponseCode,
        error: Option<ExtendedError>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.reply.error(code, error, out);
        Outcome::Reply
    }

    /// Writes an error with its reason.
    pub fn failed(
        &self,
        code: ResponseCode,
        reason: impl Into<Cow<'static, str>>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.error(code, Some(ExtendedError::other(reason)), out)
    }

    pub fn prohibited(&self, text: &'static str, out: &mut Vec<u8>) -> Outcome {
        let error = ExtendedError::prohibited(text);
        self.error(ResponseCode::Refused, Some(error), out)
    }

    #[cold]
    pub fn reject(&self, error: PolicyError, out: &mut Vec<u8>) -> Outcome {
        match error {
            // RFC 7873, section 5.2.3: the client repeats the query with the cookie
            // from this response.
            PolicyError::Unverified if self.client().cookie.is_some() => {
                self.error(ResponseCode::BADCOOKIE, None, out)
            }
            PolicyError::Unverified => {
                self.reply.truncated(out);
                Outcome::Reply
            }
            PolicyError::Refused(error) => self.error(ResponseCode::Refused, Some(error), out),
        }
    }
}

impl Responder {
    pub fn new(
        registry: Registry,
        config: &Config,
        forwarder: Option<Forwarder>,
        cookies: Arc<Cookies>,
        limiter: Arc<Limiter>,
        clock: Clock,
    ) -> Self {
        Self {
            registry,
            policy: Policy::new(config, cookies, limiter),
            clock,
            server_info: ServerInfo {
                recursive: forwarder.is_some(),
                nsid: config.identity.name.clone().map(String::into_bytes),
            },
            forwarder: forwarder.map(Arc::new),
            identity: config.identity.clone(),
        }
    }

    /// The current published state.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.registry, &self.policy.cookies, &self.clock)
    }

    /// Handles a message. If the reply needs no waiting, it is written to `out`, which
    /// is empty otherwise.
    pub fn handle(
        &self,
        snapshot: &Snapshot,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let query = Query::read(packet).map(|query| snapshot.locate(query));
        self.answer(snapshot, query.as_ref(), packet, source, out)
    }

    /// Like [`handle`](Self::handle), for a packet whose query has been read already.
    /// `query` is `None` for a message that takes the slow path.
    #[inline(always)]
    pub fn answer(
        &self,
        snapshot: &Snapshot,
        query: Option<&ZoneQuery<'_>>,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match query {
            Some(query) => {
                let client = Client::of(&query.query, source, None, &snapshot.cookies);
                self.answer_client(snapshot, query, None, &client, out)
            }
            None => self.answer_slowly(snapshot, packet, source, out),
        }
    }

    /// The slow path: answers a message that hickory's parser must read.
    #[inline(never)]
    fn answer_slowly(
        &self,
        snapshot: &Snapshot,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        // A message shorter than a header, or a response, is never answered, so that
        // no two servers can be made to answer each other forever.
        let Some(&[_, _, flags, _, q1, q0, ..]) = packet.first_chunk::<HEADER>() else {
            return Outcome::NoReply;
        };
        if flags & 0x80 != 0 {
            return Outcome::NoReply;
        }
        // RFC 9619: a query has exactly one question. A message with more questions
        // is not parsed, since their number may be false.
        let has_valid_count = u16::from_be_bytes([q1, q0]) <= 1;
        let parse = || Some((Message::from_vec(packet).ok()?, Query::read_any(packet)?));
        let Some((message, query)) = has_valid_count.then(parse).flatten() else {
            let code = match OpCode::from_u8((flags >> 3) & 0xf) {
                OpCode::Query | OpCode::Update => ResponseCode::FormErr,
                _ if has_valid_count => ResponseCode::NotImp,
                _ => ResponseCode::FormErr,
            };
            // Nothing in the message verifies its source, and a truncated response would
            // not make this client repeat it by TCP.
            let is_verified = source.is_verified();
            let verdict = self
                .policy
                .limiter
                .verdict(source, is_verified, snapshot.now);
            if verdict != Verdict::Send {
                return Outcome::NoReply;
            }
            write_header_only(packet, code, out);
            return Outcome::Reply;
        };
        let tsig = self.policy.check_signature(packet, &message);
        let query = snapshot.locate(query);
        let client = Client::of(&query.query, source, tsig.key(), &snapshot.cookies);
        let parsed = ParsedMessage {
            message: &message,
            tsig: &tsig,
        };
        self.answer_client(snapshot, &query, Some(parsed), &client, out)
    }

    #[inline(always)]
    fn answer_client(
        &self,
        snapshot: &Snapshot,
        zone_query: &ZoneQuery<'_>,
        parsed: Option<ParsedMessage<'_>>,
        client: &Client<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let query = &zone_query.query;
        let reply = Reply {
            query,
            client,
            cookies: &snapshot.cookies,
            server_info: &self.server_info,
            signature: parsed.and_then(|parsed| parsed.tsig.signature()),
            depends_on_subnet: false,
        };
        let mut exchange = Exchange {
            snapshot,
            zone_query,
            parsed,
            reply,
        };
        // Response rate limiting comes first, so that a forged query costs little.
        let limiter = &self.policy.limiter;
        match limiter.verdict(client.source, client.is_verified, snapshot.now) {
            Verdict::Send => {}
            Verdict::Drop => return Outcome::NoReply,
            Verdict::Truncate => {
                exchange.reply.truncated(out);
                return Outcome::Reply;
            }
        }
        if let Some(parsed) = parsed
            && let Some(outcome) = self.answer_parsed(&exchange, parsed, out)
        {
            return outcome;
        }
        if client.is_malformed {
            return exchange.error(ResponseCode::FormErr, None, out);
        }
        if !client.is_allowed(&self.policy.access.query) {
            return exchange.prohibited("your network may not query", out);
        }
        match (zone_query.zone, query.class()) {
            (Some(zone), IN) => match zone_query.lookup() {
                Some(lookup) => self.answer_peer(&mut exchange, zone, &lookup, out),
                None => self.answer_name(&mut exchange, zone, out),
            },
            _ => self.answer_without_zone(&exchange, out),
        }
    }

    /// Handles what occurs on the slow path only: a signature, an EDNS version, an
    /// opcode. Returns `None` if the message continues like a query on the fast path.
    fn answer_parsed(
        &self,
        exchange: &Exchange<'_>,
        parsed: ParsedMessage<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let query = exchange.query();
        let opcode = OpCode::from_u8(query.opcode());
        let code = match parsed.tsig {
            TsigStatus::Malformed => ResponseCode::FormErr,
            TsigStatus::Invalid(_) => ResponseCode::NotAuth,
            _ if query.edns.is_some_and(|edns| edns.version() > 0) => ResponseCode::BADVERS,
            _ if !matches!(opcode, OpCode::Query | OpCode::Update) => ResponseCode::NotImp,
            _ if exchange.client().is_malformed => ResponseCode::FormErr,
            _ if opcode == OpCode::Update => {
                return Some(self.update(exchange, parsed.message, out));
            }
            TsigStatus::Unsigned | TsigStatus::Valid(_) => return None,
        };
        Some(exchange.error(code, None, out))
    }

    /// Answers a query for a name outside all zones, or in another class.
    #[inline(never)]
    fn answer_without_zone(&self, exchange: &Exchange<'_>, out: &mut Vec<u8>) -> Outcome {
        let query = exchange.query();
        let Some(owner) = query.owner().filter(|_| !query.name.is_empty()) else {
            return exchange.error(code_without_question(exchange.client()), None, out);
        };
        if query.class() == IN {
            return self.answer_outside(exchange, &owner, out);
        }
        let rtype = RecordType::from(query.rtype());
        let identity = Some(&self.identity).filter(|_| query.class() == CH);
        match identity.and_then(|identity| identity::answer(identity, &owner, rtype)) {
            Some(answer) => exchange.reply.answer(answer, out),
            None => exchange.reply.error(ResponseCode::Refused, None, out),
        }
        Outcome::Reply
    }
}

/// The response code for a message without a question. A message with a cookie
/// requests a server cookie, or asks whether its own is still valid (RFC 7873,
/// section 5.4).
fn code_without_question(client: &Client<'_>) -> ResponseCode {
    match (client.cookie, client.has_invalid_cookie) {
        (None, _) => ResponseCode::FormErr,
        (Some(_), true) => ResponseCode::BADCOOKIE,
        (Some(_), false) => ResponseCode::NoError,
    }
}
