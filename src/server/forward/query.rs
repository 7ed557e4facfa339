//! The query that goes on to an upstream.
//!
//! What belongs to the client and its question goes on: the name in its own
//! spelling, type and class, and the flags RD, AD, CD and DO. What belongs to one
//! hop (RFC 6891, section 6.1.1) is the service's own: the ID, the payload size
//! and the options. So no cookie, padding, keepalive, NSID or signature of the
//! client's is passed on.
//!
//! CLIENT-SUBNET (RFC 7871) is the one option that may travel further. A service
//! that passes on addresses must keep a cache by network (section 7.5), and this
//! one keeps none. The addresses that peers state are private, which should not
//! be passed on either (section 11.3), and are meant for this service: they say
//! where a peer is reached. So the option is not passed on, and the reply's scope
//! of 0 says that the answer is not made for that address. The exception is a
//! prefix of 0, by which a client asks that no address of its be told to anybody:
//! that must be passed on as it is (section 7.5).

use crate::server::wire::{self, CD, HEADER, OPT, RD, SUBNET};

/// Authentic data: in a query, that the client understands that flag of the
/// reply (RFC 6840, section 5.7).
const AD: u8 = 0x20;

/// DNSSEC OK (RFC 3225), in the flags of the OPT record.
const DO: u8 = 0x80;

/// The largest reply by UDP that upstreams may send: what passes without
/// fragments nearly everywhere.
pub const PAYLOAD: usize = 1_232;

/// A query, but for what each attempt to ask it has of its own.
#[derive(Debug)]
pub struct UpstreamQuery {
    /// Name, type and class, without compression.
    pub question: Vec<u8>,
    /// AD and CD.
    flags: u8,
    dnssec_ok: bool,
    /// The options of its OPT record.
    options: Vec<u8>,
}

impl UpstreamQuery {
    /// The query that a client's makes necessary.
    pub fn new(query: &wire::Query<'_>) -> Self {
        let options = match query.subnet() {
            Some(subnet @ [_, _, 0, _]) => {
                let mut option = vec![0, SUBNET as u8, 0, 4];
                option.extend(subnet);
                option
            }
            _ => Vec::new(),
        };
        Self {
            question: query.question().to_vec(),
            flags: query.packet[3] & (AD | CD),
            dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok()),
            options,
        }
    }

    /// The message, with an OPT record or without.
    pub fn message(&self, id: [u8; 2], with_edns: bool) -> Vec<u8> {
        let [i1, i0] = id;
        let additional = u8::from(with_edns);
        let mut message = Vec::with_capacity(HEADER + self.question.len() + 19);
        message.extend([i1, i0, RD, self.flags, 0, 1, 0, 0, 0, 0, 0, additional]);
        message.extend(&self.question);
        if with_edns {
            let [t1, t0] = OPT.to_be_bytes();
            let [p1, p0] = (PAYLOAD as u16).to_be_bytes();
            let dnssec_ok = if self.dnssec_ok { DO } else { 0 };
            message.extend([0, t1, t0, p1, p0, 0, 0, dnssec_ok, 0]);
            message.extend((self.options.len() as u16).to_be_bytes());
            message.extend(&self.options);
        }
        message
    }
}
