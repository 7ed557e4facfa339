//! The reply to a message: header, question, records, OPT record and signature, in
//! the room that it may take. Every reply of the service is written here.
//!
//! Whoever answers writes the records, as octets behind the question or as hickory's
//! records; the rest follows from the query and from who asks.

mod opt;

use hickory_proto::{
    op::{Query as Question, ResponseCode},
    rr::Record,
    serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _, BinEncoder},
};

use super::{
    extended_error::ExtendedError,
    policy::{client::Client, cookie::CookieState, source::Transport, tsig::Signature},
    wire::{CD, Edns, HEADER, Query, RD, UDP_OCTETS},
};
use crate::zone::{Answer, RecordCounts};

/// The largest answer by UDP to a query without EDNS (RFC 1035, section 4.2.1).
const PLAIN_UDP_OCTETS: u16 = 512;

/// Where a message's header counts its additional records.
const ADDITIONAL_COUNT: std::ops::Range<usize> = 10..HEADER;

/// Flags of a reply: that it is one, with authority, and truncated.
const QR: u8 = 0x80;
const AA: u8 = 0x04;
const TC: u8 = 0x02;
/// In the second octet: that this service resolves names for others.
const RA: u8 = 0x80;

/// What all replies of the service have in common.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Whether this service resolves names for others.
    pub recursive: bool,
    /// The NSID of this server, for clients that ask for it.
    pub nsid: Option<Vec<u8>>,
}

/// The reply to one message.
#[derive(Clone, Copy)]
pub struct Reply<'r> {
    pub query: &'r Query<'r>,
    pub client: &'r Client<'r>,
    /// Makes the cookies that clients are given.
    pub cookies: &'r CookieState,
    pub terms: &'r Terms,
    /// How the reply is signed, if the message was.
    pub signature: Option<&'r Signature>,
    /// Whether the answer depends on the address that the client stated.
    pub by_address: bool,
}

/// How a reply ends: all but its question and its records.
#[derive(Clone, Copy)]
struct End<'e> {
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
    /// How many octets the reply may have before it is signed.
    pub fn limit(&self) -> usize {
        let payload = self.query.edns.as_ref().map(Edns::payload);
        let room = match (self.client.source.transport, payload) {
            (Transport::Tcp | Transport::Tls, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_UDP_OCTETS,
            (Transport::Udp, Some(payload)) => payload.clamp(PLAIN_UDP_OCTETS, UDP_OCTETS),
        };
        usize::from(room).saturating_sub(self.signature.map_or(0, Signature::room))
    }

    /// Writes the header and the question, behind which records may be written.
    #[inline(always)]
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.query.with_header());
    }

    fn end(&self, code: ResponseCode, flags: u8) -> End<'_> {
        End {
            code,
            flags,
            counts: [0; 3],
            nsid: self.nsid(),
            keepalive: self.keepalive(),
            padding: None,
            errors: &[],
        }
    }

    /// Ends a reply that has these records of the service's own. Additional records
    /// are left out where they have no room (RFC 2181, section 9); where the rest has
    /// none either, the reply is empty and says that it is truncated.
    #[inline(always)]
    pub fn records(&self, written: RecordCounts, error: Option<&ExtendedError>, out: &mut Vec<u8>) {
        let end = End {
            counts: [written.answers, 0, written.additional],
            errors: error.map_or(&[], std::slice::from_ref),
            ..self.end(ResponseCode::NoError, AA)
        };
        self.fit(end, written.additional_at, out);
    }

    #[inline(always)]
    fn fit(&self, mut end: End<'_>, additional_at: usize, out: &mut Vec<u8>) {
        let most = self.limit();
        let opt = self.opt_octets(&end);
        if out.len() + opt > most {
            out.truncate(additional_at);
            end.counts[2] = 0;
            if out.len() + opt > most {
                return self.no_room(out);
            }
        }
        self.finish(end, out);
    }

    /// The answer has no room: the client asks again by TCP, if it has not.
    #[cold]
    fn no_room(&self, out: &mut Vec<u8>) {
        match self.client.source.transport {
            Transport::Udp => self.truncated(out),
            Transport::Tcp | Transport::Tls => {
                let text = "the answer does not fit one message of 64 kB";
                let error = ExtendedError::other(text);
                self.error(ResponseCode::ServFail, Some(error), out);
            }
        }
    }

    /// An answer of hickory's records, with authority.
    pub fn answer(&self, answer: Answer, out: &mut Vec<u8>) {
        let error = answer.reason.map(ExtendedError::other);
        if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return self.error(answer.code, error, out);
        }
        let sections = [&answer.answers, &answer.authority, &answer.additional];
        let mut end = End {
            counts: sections.map(|records| records.len() as u16),
            errors: error.as_slice(),
            ..self.end(answer.code, AA)
        };
        match self.emit(sections, out) {
            Some(additional_at) => self.fit(end, additional_at, out),
            None => {
                // More than a message may have.
                end.counts[2] = 0;
                match self.emit([sections[0], sections[1], &Vec::new()], out) {
                    Some(additional_at) => self.fit(end, additional_at, out),
                    None => self.no_room(out),
                }
            }
        }
    }

    /// Writes header, question and records; gives where the additional ones begin.
    fn emit(&self, sections: [&Vec<Record>; 3], out: &mut Vec<u8>) -> Option<usize> {
        out.clear();
        out.extend_from_slice(&self.query.packet[..HEADER]);
        let mut encoder = BinEncoder::with_offset(out, HEADER as u32);
        // By the encoder, so that names in the records can point to it.
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

    /// An empty reply that makes the client ask again by TCP.
    pub fn truncated(&self, out: &mut Vec<u8>) {
        self.empty(self.end(ResponseCode::NoError, TC), out);
    }

    pub fn error(&self, code: ResponseCode, error: Option<ExtendedError>, out: &mut Vec<u8>) {
        let end = End {
            errors: error.as_slice(),
            ..self.end(code, 0)
        };
        self.empty(end, out);
    }

    /// A message without records. All that it may have has room in the smallest
    /// limit, but for a server's name of up to 255 octets, and an error's text
    /// beside a signature.
    fn empty(&self, mut end: End<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let most = self.limit();
        if out.len() + self.opt_octets(&end) > most {
            end.nsid = None;
        }
        if out.len() + self.opt_octets(&end) > most {
            end.errors = &[];
        }
        self.finish(end, out);
    }

    /// The reply that an upstream has given: its message, without an OPT record,
    /// and its code. All that is the client's own are the ID and the OPT record, in
    /// which the errors are, if they have room.
    pub fn forwarded(
        &self,
        message: &[u8],
        code: ResponseCode,
        errors: &[ExtendedError],
        out: &mut Vec<u8>,
    ) {
        // Only an OPT record can say it.
        if code.high() != 0 && self.query.edns.is_none() {
            return self.error(ResponseCode::ServFail, None, out);
        }
        let mut end = End {
            errors,
            ..self.end(code, 0)
        };
        let most = self.limit();
        if message.len() + self.opt_octets(&end) > most {
            end.errors = &[];
        }
        if message.len() + self.opt_octets(&end) > most {
            return self.no_room(out);
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
        self.close(end, out);
    }

    /// The first message of a transfer without its records, and the OPT record that
    /// all of them end with.
    pub fn transfer(&self) -> (Vec<u8>, Vec<u8>) {
        let end = self.end(ResponseCode::NoError, AA);
        let (mut head, mut opt) = (Vec::new(), Vec::new());
        self.begin(&mut head);
        self.write_header(&end, &mut head);
        self.write_opt(&end, &mut opt);
        (head, opt)
    }

    /// Sets the header, and adds the OPT record and the signature.
    #[inline(always)]
    fn finish(&self, end: End<'_>, out: &mut Vec<u8>) {
        self.write_header(&end, out);
        self.close(end, out);
    }

    /// Adds the OPT record and the signature.
    #[inline(always)]
    fn close(&self, mut end: End<'_>, out: &mut Vec<u8>) {
        if self.client.source.transport == Transport::Tls
            && self.query.edns.is_some_and(|edns| edns.asks_padding)
        {
            end.padding = self.padding(out.len() + self.opt_octets(&end));
        }
        self.write_opt(&end, out);
        if self.signature.is_some() {
            self.sign(out);
        }
    }

    #[inline(always)]
    fn write_header(&self, end: &End<'_>, out: &mut [u8]) {
        let query = self.query;
        let recursive = if self.terms.recursive { RA } else { 0 };
        out[2] = QR | (query.packet[2] & 0x78) | end.flags | (query.packet[2] & RD);
        out[3] = recursive | (query.packet[3] & CD) | end.code.low();
        let [answers, authority, additional] = end.counts;
        let additional = additional + u16::from(query.edns.is_some());
        out[6..8].copy_from_slice(&answers.to_be_bytes());
        out[8..10].copy_from_slice(&authority.to_be_bytes());
        out[10..12].copy_from_slice(&additional.to_be_bytes());
    }

    /// Adds the signature, if the message was signed. What cannot be signed is not
    /// sent.
    fn sign(&self, out: &mut Vec<u8>) {
        let Some(signature) = self.signature else {
            return;
        };
        // Whoever signs with an endless name that nobody knows is told so without a
        // signature.
        if signature.key().is_none() && out.len() > self.limit() {
            return;
        }
        if signature.clone().sign(out).is_none() {
            out.clear();
        }
    }
}

/// The reply to a message of which little or nothing can be understood: a bare
/// header.
pub fn bare(packet: &[u8], code: ResponseCode, out: &mut Vec<u8>) {
    let Some(&[i1, i0, flags, ..]) = packet.first_chunk::<HEADER>() else {
        return;
    };
    let opcode = flags & 0x78;
    let recursion = if opcode == 0 { flags & RD } else { 0 };
    let [f1, f0] = [QR | opcode | recursion, code.low()];
    out.extend_from_slice(&[i1, i0, f1, f0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
