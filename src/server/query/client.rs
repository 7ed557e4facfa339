//! Who asks a plain question, and the end of the reply.

use std::net::IpAddr;

use super::{register, shared::Inner};
use crate::{
    network::Holder,
    server::{
        extended_error::EXTENDED_ERROR,
        policy::{
            cookie::{Cookie, Moment},
            source::Source,
        },
        reply::room,
        wire::{self, CD, Edns, Query, RD, UDP_OCTETS},
    },
    zone::{Counts, NO_HOST_NAME},
};

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
#[derive(Clone, Copy)]
pub struct Client<'p> {
    query: &'p Query<'p>,
    pub source: &'p Source,
    /// Whether its cookies may be given again as they are.
    again: bool,
    /// Whether the query comes from where it says.
    pub is_proven: bool,
    /// What makes its cookie.
    cookies: &'p Moment,
    /// The text of the extended error (RFC 8914) that the reply has.
    error: Option<&'static str>,
}

impl<'p> Client<'p> {
    /// `None` where an option is malformed.
    #[inline(always)]
    pub fn of(query: &'p Query<'p>, cookies: &'p Moment, source: &'p Source) -> Option<Self> {
        let (mut is_proven, mut again) = (source.is_proven(), false);
        if let Some(octets) = query.cookie() {
            match cookies.judge(octets, &source.ip) {
                Cookie::Missing | Cookie::Unproven(_) => {}
                Cookie::Malformed => return None,
                Cookie::Good { again: may, .. } => (is_proven, again) = (true, may),
            }
        }
        if let Some(data) = query.subnet() {
            wire::subnet(data)?;
        }
        Some(Self {
            query,
            source,
            again,
            is_proven,
            cookies,
            error: None,
        })
    }

    /// The same client, which asks for the parameters of a peer by its ID.
    pub fn with_id(mut self) -> Self {
        self.error = Some(NO_HOST_NAME);
        self
    }

    /// Whether that is who asks; `None` where it states an address that no peer can
    /// have.
    pub fn is(&self, holder: &Holder) -> Option<bool> {
        let is_there = match self.query.subnet() {
            None => holder.address == self.source.ip,
            Some(_) => holder.address == self.stated()?,
        };
        Some(is_there && holder.source == self.source.ip)
    }

    /// The address that it states, or else its own; `None` where it is one that no
    /// peer can have.
    pub fn stated(&self) -> Option<IpAddr> {
        let subnet = self.query.subnet().and_then(wire::subnet);
        register::stated(subnet, self.source.ip)
    }

    /// Sets the header of a reply that has its records, and adds its OPT record.
    pub fn finish(&self, inner: &Inner, says: &Says, reply: &mut Vec<u8>) {
        let query = self.query;
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
        let dnssec_ok = if edns.dnssec_ok() { 0x80 } else { 0 };
        let [l1, l0] = (self.options() as u16).to_be_bytes();
        reply.extend_from_slice(&[0, 0, wire::OPT as u8, p1, p0, 0, 0, dnssec_ok, 0, l1, l0]);
        if let Some(subnet) = edns.subnet {
            let [l1, l0] = (subnet.len() as u16).to_be_bytes();
            reply.extend_from_slice(&[0, wire::SUBNET as u8, l1, l0]);
            let scope = reply.len() + 3;
            reply.extend_from_slice(subnet);
            // RFC 7871, section 7.2.1: how much of the address it depends on.
            reply[scope] = if by_address { subnet[2] } else { 0 };
        }
        if let Some(octets) = edns.cookie {
            reply.extend_from_slice(&[0, wire::COOKIE as u8, 0, 24]);
            match octets.first_chunk() {
                Some(client) if !self.again => {
                    reply.extend_from_slice(client);
                    reply.extend_from_slice(&self.cookies.server(client, self.source.ip));
                }
                _ => reply.extend_from_slice(octets),
            }
        }
        if let Some(text) = self.error {
            let [l1, l0] = (2 + text.len() as u16).to_be_bytes();
            // Its info code is 0, "Other" (RFC 8914, section 4.1).
            reply.extend_from_slice(&[0, EXTENDED_ERROR as u8, l1, l0, 0, 0]);
            reply.extend_from_slice(text.as_bytes());
        }
    }

    /// How many octets the options of the reply have.
    fn options(&self) -> usize {
        let subnet = self.query.subnet();
        let subnet = subnet.map_or(0, |subnet| 4 + subnet.len());
        let error = self.error.map_or(0, |text| 6 + text.len());
        error + subnet + self.query.cookie().map_or(0, |_| 4 + 24)
    }

    /// How many octets the OPT record of the reply has, if there is one.
    pub fn octets(&self) -> usize {
        match self.query.edns {
            Some(_) => wire::EDNS + self.options(),
            None => 0,
        }
    }

    /// How many octets the reply may have.
    pub fn room(&self) -> usize {
        let payload = self.query.edns.as_ref().map(Edns::payload);
        room(self.source.transport, payload)
    }
}
