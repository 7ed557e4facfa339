//! The OPT record of a reply (RFC 6891, section 6.1.1).

use super::{Fields, Reply};
use crate::server::{
    extended_error::ExtendedError,
    wire::{self, HEADER, MAX_UDP_OCTETS, OPT, OPT_OCTETS},
};

/// The block length of padding (RFC 8467, section 4.1), in octets. Replies by TLS are
/// padded to a multiple of it, so that their length does not reveal their content.
const BLOCK: usize = 468;

/// The length of a COOKIE option in a reply: the client cookie and the server cookie.
const COOKIE_OCTETS: u8 = 24;

impl Reply<'_> {
    /// The NSID, for clients that request it.
    pub(super) fn nsid(&self) -> Option<&[u8]> {
        let edns = self.query.edns.as_ref()?;
        let nsid = self.server_info.nsid.as_deref();
        nsid.filter(|_| edns.requests_nsid)
    }

    /// The idle timeout in units of 100 ms, for clients that request it.
    pub(super) fn keepalive(&self) -> Option<u16> {
        let edns = self.query.edns.as_ref()?;
        let timeout = self.client.source.idle_timeout?;
        let units = u16::try_from(timeout.as_millis() / 100).unwrap_or(u16::MAX);
        edns.requests_keepalive.then_some(units)
    }

    /// The length of the padding in a message of `octets` octets, which include its
    /// OPT record.
    #[cold]
    pub(super) fn padding(&self, octets: usize) -> Option<usize> {
        let unpadded = octets + 4;
        let max = self.limit().checked_sub(unpadded)?;
        let mut signed = vec![0; HEADER];
        if let Some(signature) = self.signature {
            signature.clone().sign(&mut signed)?;
        }
        let total = unpadded + signed.len() - HEADER;
        Some((total.next_multiple_of(BLOCK) - total).min(max))
    }

    /// Writes the OPT record, if the query has one (RFC 6891, section 6.1.1).
    #[inline(always)]
    pub(super) fn write_opt(&self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let Some(edns) = &self.query.edns else {
            return;
        };
        let [p1, p0] = MAX_UDP_OCTETS.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok() { 0x80 } else { 0 };
        let [l1, l0] = (self.options_octets(fields) as u16).to_be_bytes();
        let high = fields.code.high();
        out.extend_from_slice(&[0, 0, OPT as u8, p1, p0, high, 0, dnssec_ok, 0, l1, l0]);
        if let Some(subnet) = self.client.subnet {
            let [l1, l0] = (subnet.len() as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::SUBNET as u8, l1, l0]);
            let scope = out.len() + 3;
            out.extend_from_slice(subnet);
            // The scope: how much of the address matters (RFC 7871, section 7.2.1).
            out[scope] = if self.depends_on_subnet { subnet[2] } else { 0 };
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
        if let Some(nsid) = fields.nsid {
            let [l1, l0] = (nsid.len() as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::NSID as u8, l1, l0]);
            out.extend_from_slice(nsid);
        }
        if let Some(units) = fields.keepalive {
            let [u1, u0] = units.to_be_bytes();
            out.extend_from_slice(&[0, wire::KEEPALIVE as u8, 0, 2, u1, u0]);
        }
        for error in fields.errors {
            error.write(out);
        }
        if let Some(padding) = fields.padding {
            let [l1, l0] = (padding as u16).to_be_bytes();
            out.extend_from_slice(&[0, wire::PADDING as u8, l1, l0]);
            out.resize(out.len() + padding, 0);
        }
    }

    /// The length of the options in octets.
    pub(super) fn options_octets(&self, fields: &Fields<'_>) -> usize {
        let subnet = self.client.subnet.map_or(0, |subnet| 4 + subnet.len());
        let cookie = self
            .client
            .cookie
            .map_or(0, |_| 4 + usize::from(COOKIE_OCTETS));
        let nsid = fields.nsid.map_or(0, |nsid| 4 + nsid.len());
        let errors: usize = fields.errors.iter().map(ExtendedError::octets).sum();
        let keepalive = fields.keepalive.map_or(0, |_| 6);
        let padding = fields.padding.map_or(0, |padding| 4 + padding);
        subnet + cookie + nsid + errors + keepalive + padding
    }

    /// The length of the OPT record in octets, 0 if there is none.
    pub(super) fn opt_octets(&self, fields: &Fields<'_>) -> usize {
        match self.query.edns {
            Some(_) => OPT_OCTETS + self.options_octets(fields),
            None => 0,
        }
    }
}
