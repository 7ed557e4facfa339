//! Who asks a plain question, and the end of the reply.

use std::net::IpAddr;

use super::{
    cookie::Cookie,
    handler::Inner,
    reply::{UDP_OCTETS, room},
    source::{Source, Transport},
    wire::{self, CD, Query, RD},
};
use crate::zone::Counts;

/// What a reply has besides the question.
pub enum Says {
    Records {
        counts: Counts,
        /// Whether they depend on the address that was stated.
        by_address: bool,
    },
    /// Nothing: the client is to ask by TCP.
    Truncated,
}

/// Who asks, and what the options of the query say.
pub struct Client<'p> {
    query: Query<'p>,
    pub ip: IpAddr,
    transport: Transport,
    cookie: Cookie,
    /// The address and the prefix that it states.
    pub subnet: Option<(IpAddr, u8)>,
    /// Whether the query comes from where it says.
    pub is_proven: bool,
    /// By which its cookie is made.
    seconds: u32,
}

impl<'p> Client<'p> {
    /// `None` where an option is malformed.
    pub fn of(query: Query<'p>, inner: &Inner, source: Source, seconds: u32) -> Option<Self> {
        let ip = source.ip();
        let cookie = match query.edns.and_then(|edns| edns.cookie) {
            Some(octets) => inner.cookies.judge(octets, ip, seconds),
            None => Cookie::Missing,
        };
        let subnet = match query.edns.and_then(|edns| edns.subnet) {
            Some(data) => Some(wire::subnet(data)?),
            None => None,
        };
        (cookie != Cookie::Malformed).then_some(Self {
            query,
            ip,
            transport: source.transport,
            cookie,
            subnet,
            is_proven: source.is_proven() || cookie.is_good(),
            seconds,
        })
    }

    /// Sets the header of a reply that has its records, and adds its OPT record.
    pub fn finish(&self, inner: &Inner, says: &Says, reply: &mut Vec<u8>) {
        let query = &self.query;
        // Authoritative, or truncated.
        let (counts, flag, by_address) = match says {
            Says::Records { counts, by_address } => (*counts, 0x04, *by_address),
            Says::Truncated => (Counts::NONE, 0x02, false),
        };
        let recursive = if inner.is_recursive() { 0x80 } else { 0 };
        reply[2] = 0x80 | flag | (query.packet[2] & RD);
        reply[3] = recursive | (query.packet[3] & CD);
        reply[6..8].copy_from_slice(&counts.answers.to_be_bytes());
        reply[8..10].copy_from_slice(&[0, 0]);
        let additional = counts.additional + u16::from(query.edns.is_some());
        reply[10..12].copy_from_slice(&additional.to_be_bytes());
        let Some(edns) = &query.edns else {
            return;
        };
        let [p1, p0] = UDP_OCTETS.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        let [l1, l0] = (self.options() as u16).to_be_bytes();
        reply.extend([0, 0, wire::OPT as u8, p1, p0, 0, 0, dnssec_ok, 0, l1, l0]);
        if let Some(subnet) = edns.subnet {
            let [l1, l0] = (subnet.len() as u16).to_be_bytes();
            reply.extend([0, wire::SUBNET as u8, l1, l0]);
            let scope = reply.len() + 3;
            reply.extend(subnet);
            // RFC 7871, section 7.2.1: how much of the address it depends on.
            reply[scope] = if by_address { subnet[2] } else { 0 };
        }
        if let Some(cookie) = self.cookie.client() {
            reply.extend([0, wire::COOKIE as u8, 0, 24]);
            reply.extend(cookie);
            reply.extend(match self.cookie {
                Cookie::Good {
                    again: Some(server),
                    ..
                } => server,
                _ => inner.cookies.server(cookie, self.ip, self.seconds),
            });
        }
    }

    /// How many octets the options of the reply have.
    fn options(&self) -> usize {
        let subnet = self.query.edns.and_then(|edns| edns.subnet);
        let subnet = subnet.map_or(0, |subnet| 4 + subnet.len());
        subnet + self.cookie.client().map_or(0, |_| 4 + 24)
    }

    /// How many octets the OPT record of the reply has, if there is one.
    pub fn octets(&self) -> usize {
        self.query.edns.map_or(0, |_| 11 + self.options())
    }

    /// How many octets the reply may have.
    pub fn room(&self) -> usize {
        let payload = self.query.edns.map(|edns| edns.payload);
        room(self.transport, payload)
    }
}
