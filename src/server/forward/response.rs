//! Reads the response of an upstream.
//!
//! The message remains unchanged, octet for octet, so that records of any type reach
//! the client as they were sent. Only its OPT record is removed, since it belongs to
//! the hop between the upstream and the service. [`shift`] adjusts the names that point
//! across the gap.
//!
//! This module does not interpret records. It only checks that they end where the
//! message does; the client must be able to read them in any case.

use hickory_proto::op::ResponseCode;

use crate::server::{
    extended_error::{EXTENDED_ERROR, ExtendedError},
    record_place::RecordPlace,
    wire::{HEADER, OPT, QR, TC},
};

use super::{query::UpstreamQuery, shift};

/// The type TSIG (RFC 8945).
const TSIG: u16 = 250;

/// The opcode, in the first octet of the flags.
const OPCODE: u8 = 0x78;

/// A message from an upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamReply {
    /// The message is not a response to the query. It may be forged.
    Unrelated,
    /// The response is malformed.
    Malformed,
    /// The response is truncated: the query must be repeated by TCP.
    Truncated,
    Response(Response),
}

/// The response of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The message without its OPT record.
    pub message: Vec<u8>,
    /// The complete code, including the part in the OPT record.
    pub code: ResponseCode,
    /// The extended errors of the OPT record.
    pub errors: Vec<ExtendedError>,
}

impl Response {
    /// Returns whether the response is an answer and not an error.
    pub fn is_answer(&self) -> bool {
        is_answer(self.code)
    }
}

fn is_answer(code: ResponseCode) -> bool {
    // YXDOMAIN means that a DNAME record makes the name too long (RFC 6672).
    matches!(
        code,
        ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain
    )
}

/// Reads a message from an upstream to which the query was sent with this ID.
pub fn read(octets: &[u8], query: &UpstreamQuery, id: [u8; 2]) -> UpstreamReply {
    let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else {
        return UpstreamReply::Unrelated;
    };
    let count = |offset: usize| u16::from_be_bytes([header[offset], header[offset + 1]]);
    let is_response = header[2] & (QR | OPCODE) == QR;
    if header[..2] != id || !is_response {
        return UpstreamReply::Unrelated;
    }
    let counts = [6, 8, 10].map(count);
    // A server that cannot parse the query may omit the question. Its response then
    // consists of the code only.
    let code = ResponseCode::from_low(header[3]);
    let is_bare = count(4) == 0 && counts == [0; 3];
    if is_bare && !is_answer(code) {
        let mut message = header.to_vec();
        message[2] &= !TC;
        message[5] = 1;
        message.extend(&query.question);
        return UpstreamReply::Response(Response {
            message,
            code,
            errors: Vec::new(),
        });
    }
    // The spelling must match as well, so that an attacker must guess it (RFC 5452,
    // section 9.2, lists the name among the parts that must match).
    if count(4) != 1 || !rest.starts_with(&query.question) {
        return UpstreamReply::Unrelated;
    }
    if header[2] & TC != 0 {
        return UpstreamReply::Truncated;
    }
    let start = HEADER + query.question.len();
    match without_opt(octets, start, counts) {
        Some(response) => UpstreamReply::Response(response),
        None => UpstreamReply::Malformed,
    }
}

/// Removes the OPT record; `None` if the message is malformed.
fn without_opt(octets: &[u8], start: usize, counts: [u16; 3]) -> Option<Response> {
    let mut opt = None;
    let mut end = start;
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            let record = RecordPlace::read(octets, end)?;
            end = record.data.end;
            match record.rtype {
                // A message may have one OPT record, with the root as its name, in the
                // additional section (RFC 6891, section 6.1.1).
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
    let low = octets[3] & 0xf;
    let mut response = Response {
        message: octets.to_vec(),
        code: ResponseCode::from_low(low),
        errors: Vec::new(),
    };
    if let Some(opt) = opt {
        let message = &mut response.message;
        let gap = opt.owner.start..opt.data.end;
        shift::shift_names(message, &gap)?;
        message.drain(gap);
        message[10..12].copy_from_slice(&(counts[2] - 1).to_be_bytes());
        response.code = ResponseCode::from(opt.ttl[0], low);
        response.errors = errors(&octets[opt.data])?;
    }
    Some(response)
}

/// Reads the extended errors among the options; `None` if the options are malformed.
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
                // The text has no terminator (RFC 8914, section 2), but some servers
                // send one.
                text: String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned()
                    .into(),
            });
        }
    }
    Some(errors)
}
