//! Writes replies: header, question, records, OPT record and signature, within the
//! limit of the message. Every reply of the service is written here.
//!
//! The caller provides the records, as octets after the question or as hickory's
//! records. Everything else follows from the query and the client.

mod opt;

use hickory_proto::{
    op::{Query as Question, ResponseCode},
    rr::Record,
    serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _, BinEncoder},
};

use super::{
    extended_error::ExtendedError,
    policy::{client::Client, cookie::CookieSnapshot, source::Transport, tsig::Signature},
    wire::{ADDITIONAL_COUNT, CD, Edns, HEADER, MAX_UDP_OCTETS, QR, Query, RD, TC},
};
use crate::zone::{Answer, RecordCounts};

/// The maximum length of a UDP response to a query without EDNS (RFC 1035, section
/// 4.2.1).
const MAX_UDP_OCTETS_WITHOUT_EDNS: u16 = 512;

/// Authoritative answer, in the first octet of the flags.
const AA: u8 = 0x04;
/// Recursion available, in the second octet.
const RA: u8 = 0x80;

/// What replies state about this server.
#[derive(Debug, Clone, Default)]
pub struct ServerInfo {
    /// Whether recursion is available: queries are forwarded.
    pub recursive: bool,
    /// The NSID, for clients that request it.
    pub nsid: Option<Vec<u8>>,
}

/// The reply to one message.
#[derive(Clone, Copy)]
pub struct Reply<'r> {
    pub query: &'r Query<'r>,
    pub client: &'r Client<'r>,
    /// Generates server cookies.
    pub cookies: &'r CookieSnapshot,
    pub server_info: &'r ServerInfo,
    /// Signs the reply, if the message was signed.
    pub signature: Option<&'r Signature>,
    /// Whether the answer depends on the address that the client states with EDNS
    /// CLIENT-SUBNET.
    pub depends_on_subnet: bool,
}

/// The fields of the header and the EDNS options of a reply.
#[derive(Clone, Copy)]
struct Fields<'e> {
    code: ResponseCode,
    flags: u8,
    /// The numbers of answers, authority and additional records.
    counts: [u16; 3],
    nsid: Option<&'e [u8]>,
    /// In units of 100 ms (RFC 7828, section 3.1).
    keepalive: Option<u16>,
    padding: Option<usize>,
    errors: &'e [ExtendedError],
}

impl<'r> Reply<'r> {
    /// The maximum length of the reply before it is signed, in octets.
    pub fn limit(&self) -> usize {
        let payload = self.query.edns.as_ref().map(Edns::payload);
        let room = match (self.client.source.transport, payload) {
            (Transport::Tcp | Transport::Tls, _) => u16::MAX,
            (Transport::Udp, None) => MAX_UDP_OCTETS_WITHOUT_EDNS,
            (Transport::Udp, Some(payload)) => {
                payload.clamp(MAX_UDP_OCTETS_WITHOUT_EDNS, MAX_UDP_OCTETS)
            }
        };
        usize::from(room).saturating_sub(self.signature.map_or(0, Signature::max_octets))
    }

    /// Writes the header and the question, after which the caller can write records.
    #[inline(always)]
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.query.header_and_question());
    }

    fn fields(&self, code: ResponseCode, flags: u8) -> Fields<'_> {
        Fields {
            code,
            flags,
            counts: [0; 3],
            nsid: self.nsid(),
            keepalive: self.keepalive(),
            padding: None,
            errors: &[],
        }
    }

    /// Completes a reply to which records were written. If the additional records do
    /// not fit, they are omitted (RFC 2181, section 9); if the other records do not
    /// fit, either, the reply is empty and truncated.
    #[inline(always)]
    pub fn records(&self, written: RecordCounts, error: Option<&ExtendedError>, out: &mut Vec<u8>) {
        let fields = Fields {
            counts: [written.answers, 0, written.additional],
            errors: error.map_or(&[], std::slice::from_ref),
            ..self.fields(ResponseCode::NoError, AA)
        };
        self.complete_within_limit(fields, written.additional_at, out);
    }

    #[inline(always)]
    fn complete_within_limit(
        &self,
        mut fields: Fields<'_>,
        additional_at: usize,
        out: &mut Vec<u8>,
    ) {
        let limit = self.limit();
        let opt = self.opt_octets(&fields);
        if out.len() + opt > limit {
            out.truncate(additional_at);
            fields.counts[2] = 0;
            if out.len() + opt > limit {
                return self.exceeds_limit(out);
            }
        }
        self.complete(fields, out);
    }

    /// Handles an answer that exceeds the limit: over UDP, the client is told to
    /// repeat the query by TCP.
    #[cold]
    fn exceeds_limit(&self, out: &mut Vec<u8>) {
        match self.client.source.transport {
            Transport::Udp => self.truncated(out),
            Transport::Tcp | Transport::Tls => {
                let text = "the answer does not fit one message of 64 kB";
                let error = ExtendedError::other(text);
                self.error(ResponseCode::ServFail, Some(error), out);
            }
        }
    }

    /// Writes an authoritative answer that consists of hickory's records.
    pub fn answer(&self, answer: Answer, out: &mut Vec<u8>) {
        let error = answer.reason.map(ExtendedError::other);
        if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return self.error(answer.code, error, out);
        }
        // Without the additional records, if the records exceed the maximum length of a
        // message.
        for additional in [&answer.additional[..], &[]] {
            let sections = [&answer.answers[..], &answer.authority, additional];
            let fields = Fields {
                counts: sections.map(|records| records.len() as u16),
                errors: error.as_slice(),
                ..self.fields(answer.code, AA)
            };
            if let Some(additional_at) = self.emit(sections, out) {
                return self.complete_within_limit(fields, additional_at, out);
            }
        }
        self.exceeds_limit(out);
    }

    /// Writes the header, the question and the records, and returns the position of
    /// the additional records. Returns `None` if they exceed the maximum length of a
    /// message.
    fn emit(&self, sections: [&[Record]; 3], out: &mut Vec<u8>) -> Option<usize> {
        out.clear();
        out.extend_from_slice(&self.query.packet[..HEADER]);
        let mut encoder = BinEncoder::with_offset(out, HEADER as u32);
        // The encoder writes the question, so that names in the records can point to
        // it.
        let question = Question::read(&mut BinDecoder::new(self.query.question()));
        question.ok()?.emit(&mut encoder).ok()?;
        let [answers, authority, additional] = sections;
        for record in answers.iter().chain(authority) {
            record.emit(&mut encoder).ok()?;
        }
        let additional_at = encoder.len();
        for record in additional {
            record.emit(&mut encoder).ok()?;
        }
        Some(additional_at)
    }

    /// Writes an empty reply that makes the client repeat the query by TCP.
    pub fn truncated(&self, out: &mut Vec<u8>) {
        self.without_records(self.fields(ResponseCode::NoError, TC), out);
    }

    pub fn error(&self, code: ResponseCode, error: Option<ExtendedError>, out: &mut Vec<u8>) {
        let fields = Fields {
            errors: error.as_slice(),
            ..self.fields(code, 0)
        };
        self.without_records(fields, out);
    }

    /// Writes a reply without records. Everything fits the smallest limit except an
    /// NSID of up to 255 octets, and the text of an extended error beside a signature.
    fn without_records(&self, mut fields: Fields<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let limit = self.limit();
        if out.len() + self.opt_octets(&fields) > limit {
            fields.nsid = None;
        }
        if out.len() + self.opt_octets(&fields) > limit {
            fields.errors = &[];
        }
        self.complete(fields, out);
    }

    /// Writes the response of an upstream. `message` is its message without the OPT
    /// record, and `code` its complete response code. The reply has the client's ID
    /// and an OPT record of its own, which contains the errors if they fit.
    pub fn forwarded(
        &self,
        message: &[u8],
        code: ResponseCode,
        errors: &[ExtendedError],
        out: &mut Vec<u8>,
    ) {
        // Only an OPT record can contain such a code.
        if code.high() != 0 && self.query.edns.is_none() {
            return self.error(ResponseCode::ServFail, None, out);
        }
        let mut fields = Fields {
            errors,
            ..self.fields(code, 0)
        };
        let limit = self.limit();
        if message.len() + self.opt_octets(&fields) > limit {
            fields.errors = &[];
        }
        if message.len() + self.opt_octets(&fields) > limit {
            return self.exceeds_limit(out);
        }
        out.clear();
        out.extend_from_slice(&self.query.packet[..2]);
        out.extend_from_slice(message.get(2..).unwrap_or_default());
        if self.query.edns.is_some()
            && let Some(count) = out.get_mut(ADDITIONAL_COUNT)
        {
            let more = u16::from_be_bytes([count[0], count[1]]).saturating_add(1);
            count.copy_from_slice(&more.to_be_bytes());
        }
        self.append_opt_and_signature(fields, out);
    }

    /// The first message of a zone transfer without its records, and the OPT record
    /// at the end of each message.
    pub fn transfer(&self) -> (Vec<u8>, Vec<u8>) {
        let fields = self.fields(ResponseCode::NoError, AA);
        let (mut head, mut opt) = (Vec::new(), Vec::new());
        self.begin(&mut head);
        self.write_header(&fields, &mut head);
        self.write_opt(&fields, &mut opt);
        (head, opt)
    }

    /// Writes the header, and appends the OPT record and the signature.
    #[inline(always)]
    fn complete(&self, fields: Fields<'_>, out: &mut Vec<u8>) {
        self.write_header(&fields, out);
        self.append_opt_and_signature(fields, out);
    }

    /// Appends the OPT record and the signature.
    #[inline(always)]
    fn append_opt_and_signature(&self, mut fields: Fields<'_>, out: &mut Vec<u8>) {
        if self.client.source.transport == Transport::Tls
            && self.query.edns.is_some_and(|edns| edns.requests_padding)
        {
            fields.padding = self.padding(out.len() + self.opt_octets(&fields));
        }
        self.write_opt(&fields, out);
        if self.signature.is_some() {
            self.sign(out);
        }
    }

    #[inline(always)]
    fn write_header(&self, fields: &Fields<'_>, out: &mut [u8]) {
        let query = self.query;
        let recursive = if self.server_info.recursive { RA } else { 0 };
        out[2] = QR | (query.packet[2] & 0x78) | fields.flags | (query.packet[2] & RD);
        out[3] = recursive | (query.packet[3] & CD) | fields.code.low();
        let [answers, authority, additional] = fields.counts;
        let additional = additional + u16::from(query.edns.is_some());
        out[6..8].copy_from_slice(&answers.to_be_bytes());
        out[8..10].copy_from_slice(&authority.to_be_bytes());
        out[10..12].copy_from_slice(&additional.to_be_bytes());
    }

    /// Appends the signature, if the message was signed. A reply that cannot be signed
    /// is not sent.
    fn sign(&self, out: &mut Vec<u8>) {
        let Some(signature) = self.signature else {
            return;
        };
        // If the name of an unknown key is so long that the TSIG record does not fit,
        // the reply goes without one.
        if signature.key().is_none() && out.len() > self.limit() {
            return;
        }
        if signature.clone().sign(out).is_none() {
            out.clear();
        }
    }
}

/// Writes the reply to a message that cannot be parsed: a header alone.
pub fn write_header_only(packet: &[u8], code: ResponseCode, out: &mut Vec<u8>) {
    let Some(&[i1, i0, flags, ..]) = packet.first_chunk::<HEADER>() else {
        return;
    };
    let opcode = flags & 0x78;
    let recursion = if opcode == 0 { flags & RD } else { 0 };
    let [f1, f0] = [QR | opcode | recursion, code.low()];
    out.extend_from_slice(&[i1, i0, f1, f0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
