//! The client that sent a message.

use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::{
    cookie::{CLIENT_COOKIE_OCTETS, CookieSnapshot, CookieStatus},
    source::Source,
};
use crate::server::{
    config::access::AccessList,
    extended_error::ExtendedError,
    wire::{self, Query},
};

/// The client that sent a message, with the options that concern it.
#[derive(Clone, Copy)]
pub struct Client<'p> {
    pub source: &'p Source,
    /// The name of the key that the message is signed with, if the signature is
    /// valid.
    pub key: Option<&'p Name>,
    /// Whether the source address is verified: the message was not forged.
    pub is_verified: bool,
    /// Whether one of the options below violates its RFC. That option is `None`.
    pub is_malformed: bool,
    /// The data of the COOKIE option.
    pub cookie: Option<&'p [u8]>,
    /// Whether the reply repeats the cookies of the query.
    pub reuses_cookie: bool,
    /// Whether the COOKIE option contains an invalid server cookie.
    pub has_invalid_cookie: bool,
    /// The data of the CLIENT-SUBNET option.
    pub subnet: Option<&'p [u8]>,
}

impl<'p> Client<'p> {
    /// The client that sent the query. `key` is the key that signed it.
    #[inline(always)]
    pub fn of(
        query: &Query<'p>,
        source: &'p Source,
        key: Option<&'p Name>,
        cookies: &CookieSnapshot,
    ) -> Self {
        let mut client = Self {
            source,
            key,
            is_verified: source.is_verified() || key.is_some(),
            is_malformed: false,
            cookie: query.cookie(),
            reuses_cookie: false,
            has_invalid_cookie: false,
            subnet: query.subnet(),
        };
        if let Some(octets) = client.cookie {
            match cookies.verify(octets, &source.ip) {
                CookieStatus::Unverified => {
                    client.has_invalid_cookie = octets.len() > CLIENT_COOKIE_OCTETS;
                }
                CookieStatus::Malformed => (client.is_malformed, client.cookie) = (true, None),
                CookieStatus::Valid { reusable } => {
                    (client.is_verified, client.reuses_cookie) = (true, reusable);
                }
            }
        }
        if let Some(data) = client.subnet
            && wire::parse_subnet(data).is_none()
        {
            (client.is_malformed, client.subnet) = (true, None);
        }
        client
    }

    /// Returns whether the list allows messages of the client.
    pub fn is_allowed(&self, list: &AccessList) -> bool {
        list.allows(self.source.ip, self.key)
    }

    /// The address that the client states with EDNS CLIENT-SUBNET (RFC 7871) and a
    /// full prefix, or else its source address.
    ///
    /// # Errors
    ///
    /// No peer can have the address.
    pub fn address(&self) -> Result<IpAddr, ExtendedError> {
        let source = self.source.ip;
        let Some((address, prefix)) = self.subnet.and_then(wire::parse_subnet) else {
            return Ok(source);
        };
        let full = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let stated = if prefix == full {
            address.to_canonical()
        } else {
            source
        };
        if !is_peer_address(stated, source) {
            let text = format!("no peer can have the address {address}");
            return Err(ExtendedError::other(text));
        }
        Ok(stated)
    }
}

/// Returns whether other peers could reach a peer at this address. Only a client on
/// this machine can have a loopback address.
fn is_peer_address(address: IpAddr, source: IpAddr) -> bool {
    if address.is_loopback() {
        return source.is_loopback();
    }
    match address {
        // "This network" and the reserved block, which includes the broadcast
        // address (RFC 6890, section 2.2.2), belong to no host.
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && first < 240 && !v4.is_multicast()
        }
        // The unspecified address, the deprecated IPv4-compatible addresses
        // (RFC 4291, section 2.5.5.1), and the discard prefix (RFC 6666) do not,
        // either.
        IpAddr::V6(v6) => {
            let is_compatible = v6.segments()[..6] == [0; 6];
            let is_discard = v6.segments()[..4] == [0x100, 0, 0, 0];
            !is_compatible && !is_discard && !v6.is_multicast()
        }
    }
}
