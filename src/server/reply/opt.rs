//! The OPT record of a reply (RFC 6891, section 6.1.1).

use super::{End, Reply};
use crate::server::{
    extended_error::ExtendedError,
    wire::{self, EDNS, HEADER, OPT, UDP_OCTETS},
};

/// Replies by TLS are padded to a multiple of so many octets (RFC 8467, section 4.1),
/// so that their length does not tell whoever watches what they are about.
const BLOCK: usize = 468;

/// What a COOKIE option of ours has: the client's cookie and the server's.
const COOKIE_OCTETS: u8 = 24;

impl Reply<'_> {
    /// The name of the server, for clients that ask for it.
    pub(super) fn nsid(&self) -> Option<&[u8]> {
        let edns = self.query.edns.as_ref()?;
        self.terms.nsid.as_deref().filter(|_| edns.asks_nsid)
    }

    /// How long the connection may be idle, for clients that ask.
    pub(super) fn keepalive(&self) -> Option<u16> {
        let edns = self.query.edns.as_ref()?;
        let idle = self.client.source.idle.filter(|_| edns.asks_keepalive)?;
        Some(u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX))
    }

    /// How many octets of padding a message of so many octets has, with its OPT record.
    #[cold]
    pub(super) fn padding(&self, octets: usize) -> Option<usize> {
        let bare = octets + 4;
        let most = self.limit().checked_sub(bare)?;
        let mut signed = vec![0; HEADER];
        if let Some(signature) = self.signature {
            signature.clone().sign(&mut signed)?;
        }
        let whole = bare + signed.len() - HEADER;
        Some((whole.next_multiple_of(BLOCK) - whole).min(most))
    }

    /// The OPT record that answers the query's (RFC 6891, section 6.1.1).
    #[inline(always)]
    pub(super) fn write_opt(&self, end: &End<'_>, out: &mut Vec<u8>) {
        let Some(edns) = &self.query.edns else {
            return;
        };
        let [p1, p0] = UDP_OCTETS.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok() { 0x80 } else { 0 };
        let [l1, l0] = (self.options_octets(end) as u16).to_be_bytes();
        let high = end.code.high();
        out.extend_from_slice(&[0, 0, OPT as u8, p1, p0, high, 0, dnssec_ok, 0, l1, l0]);
        if let Some(subnet) = self.client.subnet {
            let [l1, l0] = (subnet.len() as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::SUBNET as u8, l1, l0]);
            let scope = out.len() + 3;
            out.extend_from_slice(subnet);
            // RFC 7871, section 7.2.1: how much of the address the answer depends on.
            out[scope] = if self.by_address { subnet[2] } else { 0 };
        }
        if let Some(octets) = self.client.cookie {
            out.extend_from_slice(&[0, wire::COOKIE as u8, 0, COOKIE_OCTETS]);
            match octets.first_chunk() {
                Some(client) if !self.client.reuses_cookie => {
                    out.extend_from_slice(client);
                    out.extend_from_slice(&self.cookies.server(client, self.client.source.ip));
                }
                _ => out.extend_from_slice(octets),
            }
        }
        if let Some(nsid) = end.nsid {
            let [l1, l0] = (nsid.len() as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::NSID as u8, l1, l0]);
            out.extend_from_slice(nsid);
        }
        if let Some(units) = end.keepalive {
            let [u1, u0] = units.to_be_bytes();
            out.extend_from_slice(&[0, wire::KEEPALIVE as u8, 0, 2, u1, u0]);
        }
        for error in end.errors {
            error.write(out);
        }
        if let Some(padding) = end.padding {
            let [l1, l0] = (padding as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::PADDING as u8, l1, l0]);
            out.resize(out.len() + padding, 0);
        }
    }

    /// How many octets the options of the reply have.
    pub(super) fn options_octets(&self, end: &End<'_>) -> usize {
        let subnet = self.client.subnet.map_or(0, |subnet| 4 + subnet.len());
        let cookie = self
            .client
            .cookie
            .map_or(0, |_| 4 + usize::from(COOKIE_OCTETS));
        let nsid = end.nsid.map_or(0, |nsid| 4 + nsid.len());
        let errors: usize = end.errors.iter().map(ExtendedError::octets).sum();
        let keepalive = end.keepalive.map_or(0, |_| 6);
        let padding = end.padding.map_or(0, |padding| 4 + padding);
        subnet + cookie + nsid + errors + keepalive + padding
    }

    /// How many octets the OPT record of the reply has, if there is one.
    pub(super) fn opt_octets(&self, end: &End<'_>) -> usize {
        match self.query.edns {
            Some(_) => EDNS + self.options_octets(end),
            None => 0,
        }
    }
}
