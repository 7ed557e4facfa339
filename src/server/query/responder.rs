//! The way of a query: read once, decided by the policy, looked up in the published
//! state, and written.

use std::sync::Arc;

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use super::{
    Outcome, identity,
    pending::{Pending, Work},
    snapshot::{QueryInZone, Snapshot},
};
use crate::{
    clock::Clock,
    registry::Registry,
    server::{
        config::{Config, Identity},
        extended_error::ExtendedError,
        forward::Forwarder,
        policy::{
            Policy, Refusal,
            client::Client,
            cookie::Cookies,
            limits::{Limiter, Verdict},
            source::Source,
            tsig::Signed,
        },
        reply::{Reply, Terms, bare},
        wire::{HEADER, Query},
    },
};

/// The classes IN and CH.
const IN: u16 = 1;
const CH: u16 = 3;

/// Everything that an answer depends on.
pub struct Responder {
    pub registry: Registry,
    pub policy: Policy,
    pub clock: Clock,
    pub(super) forwarder: Option<Arc<Forwarder>>,
    identity: Identity,
    pub(super) terms: Terms,
}

/// A message that is more than a plain query: as hickory's parser has understood it.
#[derive(Clone, Copy)]
pub(super) struct Whole<'m> {
    pub message: &'m Message,
    signed: &'m Signed,
}

/// A message on its way to the reply.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub snapshot: &'a Snapshot,
    pub found: &'a QueryInZone<'a>,
    pub whole: Option<Whole<'a>>,
    pub reply: Reply<'a>,
}

impl<'a> Exchange<'a> {
    pub fn query(&self) -> &'a Query<'a> {
        &self.found.query
    }

    pub fn client(&self) -> &'a Client<'a> {
        self.reply.client
    }

    /// The name asked for.
    pub fn owner(&self) -> Option<Name> {
        Name::read(&mut BinDecoder::new(self.query().name)).ok()
    }

    /// The same message, for when its reply can be made.
    pub fn later(&self, work: Work) -> Outcome {
        Outcome::Later(Box::new(Pending {
            packet: self.query().packet.to_vec(),
            source: *self.client().source,
            signature: self.reply.signature.cloned(),
            by_address: self.reply.by_address,
            work,
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

    pub fn prohibited(&self, text: &'static str, out: &mut Vec<u8>) -> Outcome {
        let error = ExtendedError::prohibited(text);
        self.error(ResponseCode::Refused, Some(error), out)
    }

    #[cold]
    pub fn refuse(&self, refusal: Refusal, out: &mut Vec<u8>) -> Outcome {
        match refusal {
            // RFC 7873, section 5.2.3: the client asks again with the cookie that it
            // is given here.
            Refusal::Unproven if self.client().cookie.is_some() => {
                self.error(ResponseCode::BADCOOKIE, None, out)
            }
            Refusal::Unproven => {
                self.reply.truncated(out);
                Outcome::Reply
            }
            Refusal::Refused(error) => self.error(ResponseCode::Refused, Some(error), out),
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
            terms: Terms {
                recursive: forwarder.is_some(),
                nsid: config.identity.name.clone().map(String::into_bytes),
            },
            forwarder: forwarder.map(Arc::new),
            identity: config.identity.clone(),
        }
    }

    /// Whether the message is signed with a key that the service knows.
    pub fn is_signed(&self, packet: &[u8]) -> bool {
        self.policy.has_keys()
            && Message::from_vec(packet).is_ok_and(|message| {
                matches!(
                    self.policy.check_signature(packet, &message),
                    Signed::Good(_)
                )
            })
    }

    /// The published state now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.registry, &self.policy.cookies, &self.clock)
    }

    /// Handles a message. Whatever can be answered at once is: the reply is then in
    /// `out`, which is empty otherwise.
    pub fn handle(
        &self,
        snapshot: &Snapshot,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let query = Query::read(packet).map(|query| snapshot.find(query));
        self.answer(snapshot, query.as_ref(), packet, source, out)
    }

    /// The same of a packet with a query that has been read, if it is a plain one.
    #[inline(always)]
    pub fn answer(
        &self,
        snapshot: &Snapshot,
        query: Option<&QueryInZone<'_>>,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match query {
            Some(found) => {
                let client = Client::of(&found.query, source, None, &snapshot.cookies);
                self.answer_to(snapshot, found, None, &client, out)
            }
            None => self.answer_other(snapshot, packet, source, out),
        }
    }

    /// Answers a message that is no plain query.
    #[inline(never)]
    fn answer_other(
        &self,
        snapshot: &Snapshot,
        packet: &[u8],
        source: &Source,
        out: &mut Vec<u8>,
    ) -> Outcome {
        // Less than a header, or an answer: never answered, so that two servers
        // cannot be made to talk to each other for ever.
        let Some(&[_, _, flags, _, q1, q0, ..]) = packet.first_chunk::<HEADER>() else {
            return Outcome::Silence;
        };
        if flags & 0x80 != 0 {
            return Outcome::Silence;
        }
        // RFC 9619: a query has exactly one question. Of more than that nothing
        // is read, since the number may be far from the truth.
        let is_sound = u16::from_be_bytes([q1, q0]) <= 1;
        let message = is_sound.then(|| Message::from_vec(packet).ok()).flatten();
        let query = message.as_ref().and_then(|_| Query::read_any(packet));
        let Some((message, query)) = message.zip(query) else {
            let code = match OpCode::from_u8((flags >> 3) & 0xf) {
                OpCode::Query | OpCode::Update => ResponseCode::FormErr,
                _ if is_sound => ResponseCode::NotImp,
                _ => ResponseCode::FormErr,
            };
            // It would not be asked again by TCP.
            return match self.policy.verdict_unread(source, snapshot.now) {
                Verdict::Send => {
                    bare(packet, code, out);
                    Outcome::Reply
                }
                Verdict::Truncate | Verdict::Drop => Outcome::Silence,
            };
        };
        let signed = self.policy.check_signature(packet, &message);
        let found = snapshot.find(query);
        let client = Client::of(&found.query, source, signed.key(), &snapshot.cookies);
        let whole = Whole {
            message: &message,
            signed: &signed,
        };
        self.answer_to(snapshot, &found, Some(whole), &client, out)
    }

    #[inline(always)]
    fn answer_to(
        &self,
        snapshot: &Snapshot,
        found: &QueryInZone<'_>,
        whole: Option<Whole<'_>>,
        client: &Client<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let query = &found.query;
        let reply = Reply {
            query,
            client,
            cookies: &snapshot.cookies,
            terms: &self.terms,
            signature: whole.and_then(|whole| whole.signed.signature()),
            by_address: false,
        };
        let asked = Exchange {
            snapshot,
            found,
            whole,
            reply,
        };
        // Before anything is done for an answer that may go to somebody else.
        match self.policy.verdict(client, snapshot.now) {
            Verdict::Send => {}
            Verdict::Drop => return Outcome::Silence,
            Verdict::Truncate => {
                reply.truncated(out);
                return Outcome::Reply;
            }
        }
        if let Some(whole) = whole
            && let Some(outcome) = self.answer_whole(&asked, whole, out)
        {
            return outcome;
        }
        if client.is_malformed {
            return asked.error(ResponseCode::FormErr, None, out);
        }
        if !self.policy.may_query(client) {
            return asked.prohibited("your network may not query", out);
        }
        match (found.zone, query.class()) {
            (Some(zone), IN) => match found.lookup() {
                Some(peer) => self.answer_peer(&asked, zone, &peer, out),
                None => self.answer_name(&asked, zone, out),
            },
            _ => self.answer_elsewhere(&asked, out),
        }
    }

    /// What only a message has that is no plain query: a signature, a version of EDNS,
    /// another opcode. `None` where it is to be answered like one.
    fn answer_whole(
        &self,
        asked: &Exchange<'_>,
        whole: Whole<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let query = asked.query();
        let error = |code, out| Some(asked.error(code, None, out));
        match whole.signed {
            Signed::No | Signed::Good(_) => {}
            Signed::Malformed => return error(ResponseCode::FormErr, out),
            Signed::Bad(_) => return error(ResponseCode::NotAuth, out),
        }
        if query.edns.is_some_and(|edns| edns.version() > 0) {
            return error(ResponseCode::BADVERS, out);
        }
        let opcode = OpCode::from_u8(query.opcode());
        if !matches!(opcode, OpCode::Query | OpCode::Update) {
            return error(ResponseCode::NotImp, out);
        }
        if asked.client().is_malformed {
            return error(ResponseCode::FormErr, out);
        }
        (opcode == OpCode::Update).then(|| self.update(asked, whole.message, out))
    }

    /// What is in no zone, or in another class.
    #[inline(never)]
    fn answer_elsewhere(&self, asked: &Exchange<'_>, out: &mut Vec<u8>) -> Outcome {
        let query = asked.query();
        let Some(owner) = asked.owner().filter(|_| !query.name.is_empty()) else {
            return asked.error(without_question(asked.client()), None, out);
        };
        match query.class() {
            IN => self.outside(asked, &owner, out),
            class => {
                let rtype = RecordType::from(query.rtype());
                let answer = (class == CH).then(|| identity::answer(&self.identity, &owner, rtype));
                match answer.flatten() {
                    Some(answer) => asked.reply.answer(answer, out),
                    None => asked.reply.error(ResponseCode::Refused, None, out),
                }
                Outcome::Reply
            }
        }
    }
}

/// The response code for a message without a question. One with a cookie asks for a
/// server cookie, or whether its own is still good (RFC 7873, section 5.4).
fn without_question(client: &Client<'_>) -> ResponseCode {
    match (client.cookie, client.has_wrong_cookie) {
        (None, _) => ResponseCode::FormErr,
        (Some(_), true) => ResponseCode::BADCOOKIE,
        (Some(_), false) => ResponseCode::NoError,
    }
}
