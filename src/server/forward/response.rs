//! What an upstream says, taken out of its message.
//!
//! The message stays as it is, octet for octet, so that records of any type arrive
//! as they were sent. Only its OPT record is taken out, since that belongs to the
//! hop between the upstream and the service. [`shift`] mends the names that point
//! across the gap.
//!
//! Nothing here knows what records mean; what is checked is that they end where
//! the message does. Whoever asked has to understand them anyway.

use hickory_proto::op::ResponseCode;

use crate::server::{
    extended_error::{EXTENDED_ERROR, ExtendedError},
    record_place::RecordPlace,
    wire::{HEADER, OPT},
};

use super::{query::UpstreamQuery, shift};

/// The type of the record that signs a message (RFC 8945).
const TSIG: u16 = 250;

/// In the first octet of the flags: a response; the opcode; truncated.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;

/// What has come from an upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// No response to the query: somebody else's, or a forged one.
    Unrelated,
    /// A response that cannot be read.
    Malformed,
    /// A response that has to be asked for by TCP.
    Truncated,
    Response(Response),
}

/// What an upstream has said.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Its message without the OPT record.
    pub message: Vec<u8>,
    /// The whole code, with the part that the OPT record has.
    pub code: ResponseCode,
    /// The extended errors of the OPT record.
    pub errors: Vec<ExtendedError>,
}

impl Response {
    /// Whether it says what is at the name, and not why that is not known.
    pub fn is_answer(&self) -> bool {
        is_answer(self.code)
    }
}

fn is_answer(code: ResponseCode) -> bool {
    // YXDOMAIN is of a name that a DNAME record makes too long (RFC 6672).
    matches!(
        code,
        ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain
    )
}

/// Reads what has come from an upstream that was sent the query with this ID.
pub fn read(octets: &[u8], query: &UpstreamQuery, id: [u8; 2]) -> Received {
    let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else {
        return Received::Unrelated;
    };
    let count = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
    let is_response = header[2] & (QR | OPCODE) == QR;
    if header[..2] != id || !is_response {
        return Received::Unrelated;
    }
    let counts = [6, 8, 10].map(count);
    // A server that understands nothing of a query may leave the question out.
    // Then there is nothing in its response but why.
    let code = ResponseCode::from_low(header[3]);
    let is_bare = count(4) == 0 && counts == [0; 3];
    if is_bare && !is_answer(code) {
        let mut message = header.to_vec();
        message[2] &= !TC;
        message[5] = 1;
        message.extend(&query.question);
        return Received::Response(Response {
            message,
            code,
            errors: Vec::new(),
        });
    }
    // The spelling as well: whoever forges a response has to guess it (RFC 5452,
    // section 9.2, counts the name among what must match).
    if count(4) != 1 || !rest.starts_with(&query.question) {
        return Received::Unrelated;
    }
    if header[2] & TC != 0 {
        return Received::Truncated;
    }
    let start = HEADER + query.question.len();
    match without_opt(octets, start, counts) {
        Some(response) => Received::Response(response),
        None => Received::Malformed,
    }
}

/// The message without its OPT record; `None` if it is malformed.
fn without_opt(octets: &[u8], start: usize, counts: [u16; 3]) -> Option<Response> {
    let mut opt = None;
    let mut end = start;
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            let record = RecordPlace::read(octets, end)?;
            end = record.data.end;
            match record.rtype {
                // One at most, of the root, and in the additional section (RFC
                // 6891, section 6.1.1).
                OPT if section == 2 && opt.is_none() && record.owner.len() == 1 => {
                    opt = Some(record);
                }
                // The query was not signed.
                OPT | TSIG => return None,
                _ => {}
            }
        }
    }
    if end != octets.len() {
        return None;
    }
    let mut message = octets.to_vec();
    let low = octets[3] & 0xf;
    let Some(opt) = opt else {
        return Some(Response {
            message,
            code: ResponseCode::from_low(low),
            errors: Vec::new(),
        });
    };
    let gap = opt.owner.start..opt.data.end;
    shift::names(&mut message, &gap)?;
    message.drain(gap);
    let additional = (counts[2] - 1).to_be_bytes();
    message[10..12].copy_from_slice(&additional);
    Some(Response {
        message,
        code: ResponseCode::from(opt.ttl[0], low),
        errors: errors(&octets[opt.data])?,
    })
}

/// The extended errors among the options; `None` if these are malformed.
fn errors(mut options: &[u8]) -> Option<Vec<ExtendedError>> {
    let mut errors = Vec::new();
    while !options.is_empty() {
        let (&[c1, c0, l1, l0], rest) = options.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let (data, rest) = rest.split_at_checked(length)?;
        options = rest;
        if u16::from_be_bytes([c1, c0]) == EXTENDED_ERROR {
            let (info_code, text) = data.split_first_chunk()?;
            errors.push(ExtendedError {
                info_code: u16::from_be_bytes(*info_code),
                // It has no end of its own (RFC 8914, section 2), but some
                // write one nevertheless.
                text: String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned()
                    .into(),
            });
        }
    }
    Some(errors)
}
