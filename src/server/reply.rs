//! Puts an answer into a message of the right size.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        Name, RecordType,
        rdata::opt::{ClientSubnet, EdnsCode, EdnsOption, NSIDPayload},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};
use hickory_server::server::Request;

use super::{
    extended_error::{EXTENDED_ERROR, ExtendedError},
    policy::{source::Transport, tsig::Signature},
    wire::{HEADER, UDP_OCTETS},
};
use crate::zone::{Answer, Asked};

/// The largest answer by UDP to a query without EDNS (RFC 1035, section 4.2.1).
const PLAIN_UDP_OCTETS: u16 = 512;

/// Where a message's header counts its additional records.
const ADDITIONAL_COUNT: std::ops::Range<usize> = 10..HEADER;

/// What all replies to one request have in common.
#[derive(Debug, Clone)]
pub struct Terms {
    pub transport: Transport,
    /// The address at which the service was asked.
    pub server: IpAddr,
    /// Whether this service resolves names for others.
    pub recursive: bool,
    /// Whether the answer depends on the address that the client stated.
    pub by_address: bool,
    /// The COOKIE option that answers the client's.
    pub cookie: Option<EdnsOption>,
    /// The NSID of this server, for clients that ask for it.
    pub nsid: Option<NSIDPayload>,
    /// How replies are signed, if the request was.
    pub signature: Option<Signature>,
}

impl Terms {
    /// The name of the key that the request is signed with.
    pub fn key(&self) -> Option<&Name> {
        self.signature.as_ref()?.key()
    }
}

/// The replies to one request.
pub struct Reply<'r> {
    request: &'r Request,
    terms: &'r Terms,
}

impl<'r> Reply<'r> {
    pub fn new(request: &'r Request, terms: &'r Terms) -> Self {
        Self { request, terms }
    }

    /// What the request asks for, of that type at that name.
    pub fn asked<'q>(&self, rtype: RecordType, owner: &'q Name) -> Asked<'q> {
        Asked {
            rtype,
            owner,
            server: self.terms.server,
        }
    }

    /// How many octets the reply may have before it is signed.
    pub fn limit(&self) -> usize {
        let payload = self.request.edns.as_ref().map(Edns::max_payload);
        let room = room(self.terms.transport, payload);
        let signature = self.terms.signature.as_ref();
        room.saturating_sub(signature.map_or(0, Signature::room))
    }

    /// An answer with authority. Additional records are left out where they
    /// have no room (RFC 2181, section 9); where the rest has none either, the
    /// reply is empty and says that it is truncated.
    pub fn answer(&self, answer: Answer) -> Option<Vec<u8>> {
        let is_answer = matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain);
        let error = answer.reason.map(ExtendedError::other);
        if !is_answer {
            return self.error(answer.code, error);
        }
        let mut message = self.message(answer.code, error);
        message.metadata.authoritative = true;
        message.answers = answer.answers;
        message.authorities = answer.authority;
        message.additionals = answer.additional;
        let has_additional = !message.additionals.is_empty();
        let full = message.to_vec().ok();
        if let Some(octets) = full.filter(|octets| octets.len() <= self.limit()) {
            return self.signed(octets);
        }
        if has_additional {
            message.additionals.clear();
            let octets = message.to_vec().ok()?;
            if octets.len() <= self.limit() {
                return self.signed(octets);
            }
        }
        match self.terms.transport {
            Transport::Udp => self.truncated(),
            Transport::Tcp => self.too_large(),
        }
    }

    /// There is no larger message that the client could ask for.
    fn too_large(&self) -> Option<Vec<u8>> {
        let text = "the answer does not fit one message of 64 kB";
        self.error(ResponseCode::ServFail, Some(ExtendedError::other(text)))
    }

    /// The reply that an upstream has given: its message, without an OPT record,
    /// and its code. All that is the client's own are the ID and the OPT record, in
    /// which the errors are, if they have room.
    pub fn forwarded(
        &self,
        mut message: Vec<u8>,
        code: ResponseCode,
        errors: Vec<ExtendedError>,
    ) -> Option<Vec<u8>> {
        // Only an OPT record can say it.
        if code.high() != 0 && self.request.edns.is_none() {
            return self.error(ResponseCode::ServFail, None);
        }
        let id = self.request.metadata.id.to_be_bytes();
        message.get_mut(..id.len())?.copy_from_slice(&id);
        for errors in [errors, Vec::new()] {
            let octets = self.with_edns(message.clone(), code, errors)?;
            if octets.len() <= self.limit() {
                return self.signed(octets);
            }
        }
        match self.terms.transport {
            Transport::Udp => self.truncated(),
            Transport::Tcp => self.too_large(),
        }
    }

    /// Adds the OPT record of the reply to a message that has none.
    fn with_edns(
        &self,
        mut octets: Vec<u8>,
        code: ResponseCode,
        errors: Vec<ExtendedError>,
    ) -> Option<Vec<u8>> {
        let mut own = self.message(code, None);
        own.queries.clear();
        let Some(edns) = &mut own.edns else {
            return Some(octets);
        };
        for error in errors {
            edns.options_mut().insert(error.option());
        }
        let own = own.to_vec().ok()?;
        let count = octets.get_mut(ADDITIONAL_COUNT)?;
        let more = u16::from_be_bytes([count[0], count[1]]).checked_add(1)?;
        count.copy_from_slice(&more.to_be_bytes());
        octets.extend(own.get(HEADER..)?);
        Some(octets)
    }

    /// An empty reply that makes the client ask again by TCP.
    pub fn truncated(&self) -> Option<Vec<u8>> {
        let mut message = self.message(ResponseCode::NoError, None);
        message.metadata.truncation = true;
        self.short(message)
    }

    pub fn error(&self, code: ResponseCode, error: Option<ExtendedError>) -> Option<Vec<u8>> {
        self.short(self.message(code, error))
    }

    /// A message without records. All that it may have has room in the smallest
    /// limit, but for a server's name of up to 255 octets, and an error's text
    /// beside a signature.
    fn short(&self, mut message: Message) -> Option<Vec<u8>> {
        for option in [EdnsCode::NSID, EdnsCode::Unknown(EXTENDED_ERROR)] {
            let octets = message.to_vec().ok()?;
            if octets.len() <= self.limit() {
                return self.signed(octets);
            }
            if let Some(edns) = &mut message.edns {
                edns.options_mut().remove(option);
            }
        }
        self.signed(message.to_vec().ok()?)
    }

    fn signed(&self, octets: Vec<u8>) -> Option<Vec<u8>> {
        match self.terms.signature.clone() {
            // Whoever signs with an endless name that nobody knows is told so
            // without a signature.
            Some(signature) if signature.key().is_none() && octets.len() > self.limit() => {
                Some(octets)
            }
            Some(mut signature) => signature.sign(octets),
            None => Some(octets),
        }
    }

    /// A message of a transfer, the first one, without records.
    pub fn transfer(&self) -> Message {
        let mut message = self.message(ResponseCode::NoError, None);
        message.metadata.authoritative = true;
        message
    }

    fn message(&self, code: ResponseCode, error: Option<ExtendedError>) -> Message {
        let mut metadata = Metadata::response_from_request(&self.request.metadata);
        metadata.recursion_available = self.terms.recursive;
        metadata.response_code = code;
        let mut message = Message::new(metadata.id, metadata.message_type, metadata.op_code);
        message.metadata = metadata;
        let queries = self.request.queries.queries();
        message.queries = queries
            .iter()
            .map(|query| query.original().clone())
            .collect();
        let edns = self.request.edns.as_ref();
        message.edns = edns.map(|edns| self.edns(edns, code, error));
        message
    }

    /// The OPT record that answers one (RFC 6891, section 6.1.1).
    fn edns(&self, request: &Edns, code: ResponseCode, error: Option<ExtendedError>) -> Edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_OCTETS);
        edns.set_dnssec_ok(request.flags().dnssec_ok);
        if let Some(EdnsOption::Subnet(stated)) = request.option(EdnsCode::Subnet)
            // Which may be what is wrong.
            && code != ResponseCode::FormErr
        {
            // RFC 7871, section 7.2.1: the scope says how much of the address
            // the answer depends on.
            let prefix = stated.source_prefix();
            let scope = if self.terms.by_address { prefix } else { 0 };
            let echo = ClientSubnet::new(stated.addr(), prefix, scope);
            edns.options_mut().insert(EdnsOption::Subnet(echo));
        }
        if let Some(nsid) = &self.terms.nsid
            && request.option(EdnsCode::NSID).is_some()
        {
            let option = EdnsOption::NSID(nsid.clone());
            edns.options_mut().insert(option);
        }
        if let Some(cookie) = &self.terms.cookie {
            edns.options_mut().insert(cookie.clone());
        }
        if let Some(error) = error {
            edns.options_mut().insert(error.option());
        }
        edns
    }
}

/// How many octets a reply may have to a client that takes so many by UDP;
/// `None` where it has not said, for want of EDNS.
pub fn room(transport: Transport, payload: Option<u16>) -> usize {
    let room = match (transport, payload) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP_OCTETS,
        (Transport::Udp, Some(payload)) => payload.clamp(PLAIN_UDP_OCTETS, UDP_OCTETS),
    };
    usize::from(room)
}

/// The reply to a message of which little or nothing can be understood: a bare
/// header.
pub fn bare(packet: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let header = Header::read(&mut BinDecoder::new(packet)).ok()?;
    let mut message = Message::new(header.id, MessageType::Response, header.op_code);
    message.metadata.recursion_desired =
        header.op_code == OpCode::Query && header.recursion_desired;
    message.metadata.response_code = code;
    message.to_vec().ok()
}
