//! Who sent a message.

use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::{
    cookie::{CLIENT_OCTETS, Cookie, CookieState},
    source::Source,
};
use crate::{
    network::Holder,
    server::wire::{self, Query},
};

/// Who sent a message, and what its options say of that.
#[derive(Clone, Copy)]
pub struct Client<'p> {
    pub source: &'p Source,
    /// The name of the key that the message is signed with, if that is good.
    pub key: Option<&'p Name>,
    /// Whether the message comes from where it says.
    pub is_proven: bool,
    /// Whether one of the options below is not as its RFC wants it; it is then not
    /// there.
    pub is_malformed: bool,
    /// The data of the COOKIE option.
    pub cookie: Option<&'p [u8]>,
    /// Whether its cookies may be given again as they are.
    pub reuses_cookie: bool,
    /// Whether there is a server cookie in it that is not good.
    pub has_wrong_cookie: bool,
    /// The data of the CLIENT-SUBNET option.
    pub subnet: Option<&'p [u8]>,
}

impl<'p> Client<'p> {
    /// The sender of a query that is signed with that key, or not.
    #[inline(always)]
    pub fn of(
        query: &Query<'p>,
        source: &'p Source,
        key: Option<&'p Name>,
        cookies: &CookieState,
    ) -> Self {
        let mut client = Self {
            source,
            key,
            is_proven: source.is_proven() || key.is_some(),
            is_malformed: false,
            cookie: query.cookie(),
            reuses_cookie: false,
            has_wrong_cookie: false,
            subnet: query.subnet(),
        };
        if let Some(octets) = client.cookie {
            match cookies.judge(octets, &source.ip) {
                Cookie::Unproven => client.has_wrong_cookie = octets.len() > CLIENT_OCTETS,
                Cookie::Malformed => (client.is_malformed, client.cookie) = (true, None),
                Cookie::Good { again } => (client.is_proven, client.reuses_cookie) = (true, again),
            }
        }
        if let Some(data) = client.subnet
            && wire::subnet(data).is_none()
        {
            (client.is_malformed, client.subnet) = (true, None);
        }
        client
    }

    /// The address that it states with EDNS CLIENT-SUBNET (RFC 7871) and a full
    /// prefix, or else its own.
    ///
    /// # Errors
    ///
    /// The address, where it is one that no peer can have.
    pub fn address(&self) -> Result<IpAddr, IpAddr> {
        let source = self.source.ip;
        let Some((address, prefix)) = self.subnet.and_then(wire::subnet) else {
            return Ok(source);
        };
        let full = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let stated = match prefix == full {
            true => address.to_canonical(),
            false => source,
        };
        match may_be_a_peers(stated, source) {
            true => Ok(stated),
            false => Err(address),
        }
    }

    /// The client as the holder of a registration, with the address that it states.
    pub fn holder(&self, address: IpAddr) -> Holder {
        Holder {
            source: self.source.ip,
            address,
        }
    }
}

/// Whether other peers could reach a peer there. Loopback is for who is on this
/// machine.
fn may_be_a_peers(address: IpAddr, source: IpAddr) -> bool {
    if address.is_loopback() {
        return source.is_loopback();
    }
    match address {
        // "This network" and the reserved block, which includes the broadcast
        // address (RFC 6890, section 2.2.2), are nobody's.
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && first < 240 && !v4.is_multicast()
        }
        // The unspecified address and those that once embedded an IPv4 one
        // (RFC 4291, section 2.5.5.1), and the discard prefix (RFC 6666).
        IpAddr::V6(v6) => {
            let is_compatible = v6.segments()[..6] == [0; 6];
            let is_discard = v6.segments()[..4] == [0x100, 0, 0, 0];
            !is_compatible && !is_discard && !v6.is_multicast()
        }
    }
}
