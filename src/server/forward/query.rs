//! The query to an upstream.
//!
//! The parts of the question are forwarded: the name with its spelling, the type, the
//! class, and the flags RD, AD, CD and DO. In a query, AD states that the client
//! understands that flag in the response (RFC 6840, section 5.7). The hop-by-hop parts
//! (RFC 6891, section 6.1.1) are the service's own: the ID, the payload size and the
//! options. So no cookie, padding, keepalive, NSID or signature of the client is
//! forwarded.
//!
//! CLIENT-SUBNET (RFC 7871) is the only option that may be forwarded. A service that
//! forwards addresses must keep a cache by network (section 7.5), and this service has
//! no cache. Peers state private addresses, which should not be forwarded, either
//! (section 11.3), and which are meant for this service: they are the addresses at
//! which peers are reached. Therefore the option is not forwarded, and the scope of 0
//! in the reply states that the answer does not depend on the address. The exception
//! is a prefix of 0, with which a client requests that its address be revealed to
//! nobody: it must be forwarded unchanged (section 7.5).

use crate::server::wire::{self, AD, CD, HEADER, MAX_UDP_OCTETS, OPT, RD, SUBNET};

/// DNSSEC OK (RFC 3225), in the flags of the OPT record.
const DO: u8 = 0x80;

/// The UDP payload size for upstreams, which passes without fragmentation nearly
/// everywhere.
pub const PAYLOAD: usize = MAX_UDP_OCTETS as usize;

/// A query to upstreams, without the parts that differ between attempts.
#[derive(Debug)]
pub struct UpstreamQuery {
    /// The question: name, type and class, without compression.
    pub question: Vec<u8>,
    /// AD and CD.
    flags: u8,
    dnssec_ok: bool,
    /// The options of the OPT record.
    options: Vec<u8>,
}

impl UpstreamQuery {
    /// The query to upstreams for a query of a client.
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

    /// The message with this ID, with or without an OPT record.
    pub fn message(&self, id: [u8; 2], with_edns: bool) -> Vec<u8> {
        let [i1, i0] = id;
        let additional = u8::from(with_edns);
        let mut message = Vec::with_capacity(HEADER + self.question.len() + 19);
        message.extend([i1, i0, RD, self.flags, 0, 1, 0, 0, 0, 0, 0, additional]);
        message.extend(&self.question);
        if with_edns {
            let [t1, t0] = OPT.to_be_bytes();
            let [p1, p0] = MAX_UDP_OCTETS.to_be_bytes();
            let dnssec_ok = if self.dnssec_ok { DO } else { 0 };
            message.extend([0, t1, t0, p1, p0, 0, 0, dnssec_ok, 0]);
            message.extend((self.options.len() as u16).to_be_bytes());
            message.extend(&self.options);
        }
        message
    }
}
