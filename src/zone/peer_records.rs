//! The records of a registered peer, in wire format.
//!
//! Every answer with records of a peer is written here, however it is sent. Nothing
//! allocates, unless an environment must be rendered.

use std::{io::Write as _, net::IpAddr};

use super::{Form, Lookup, ZoneView, name::ENVIRONMENT, packet};
use crate::{
    network::{Peer, PeerRecord},
    params::RenderError,
};

const A: u16 = 1;
pub(super) const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const ANY: u16 = 255;

/// The length of `epoch=`, with the octet for the length of the string.
const EPOCH_OCTETS: usize = 7;

/// The numbers of records in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCounts {
    pub answers: u16,
    pub additional: u16,
    /// The position in the output where the additional records start, which may be
    /// omitted.
    pub additional_at: usize,
}

/// Why the answer to a question about a registered peer has no records of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRecords {
    /// No root node is live, and a peer of its role cannot be the first.
    NoRoot,
    /// A query for ANY gets a minimal answer (RFC 8482).
    Any,
    /// The lease has ended, and the address is no longer valid.
    LeaseEnded,
    /// The environment cannot be rendered.
    NotRendered(RenderError),
    /// The name has no records of the type.
    NoData,
}

impl ZoneView {
    /// Appends the records that answer a question about a registered peer. `out` contains
    /// a header and the question. `server` is the address at which the service was
    /// queried.
    #[inline(always)]
    pub fn write(
        &self,
        lookup: &Lookup<'_>,
        form: Form,
        rtype: u16,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<RecordCounts, NoRecords> {
        let (peer, in_role, ttl) = match lookup {
            // A query that registers must reach the service each time, so its answer must
            // not be cached.
            Lookup::Host { peer, in_role } => (&PeerRecord::from(&***peer), *in_role, 0),
            Lookup::Id(peer) => (peer, false, self.zone.ttl),
        };
        let counts = match (form, rtype, peer.address) {
            (_, TXT | SRV, _) if !self.may_start(peer) => return Err(NoRecords::NoRoot),
            (Form::Plain, TXT, _) => self.summary(peer, ttl, out).map(|()| one_answer(out)),
            (Form::Environment, TXT, _) => {
                return self.write_environment(lookup, peer, ttl, server, out);
            }
            (Form::Plain, SRV, _) => self.root_services(peer, ttl, out),
            (Form::Plain, A | AAAA, _) if !in_role && !self.network.is_live(peer.id) => {
                return Err(NoRecords::LeaseEnded);
            }
            (Form::Plain, A, address @ IpAddr::V4(_))
            | (Form::Plain, AAAA, address @ IpAddr::V6(_))
                if !in_role =>
            {
                out.extend(packet::QUESTION_NAME);
                packet::address_record(address, self.zone.ttl, out);
                Some(one_answer(out))
            }
            (_, ANY, _) => return Err(NoRecords::Any),
            _ => None,
        };
        counts.ok_or(NoRecords::NoData)
    }

    /// Writes the variables, and the summary as an additional record. It names the
    /// holder, so that one message tells the client whether the environment is its own.
    fn write_environment(
        &self,
        lookup: &Lookup<'_>,
        peer: &PeerRecord,
        ttl: u32,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<RecordCounts, NoRecords> {
        let full_peer = lookup.host().or_else(|| self.network.peer(peer.id));
        let full_peer = full_peer.ok_or(NoRecords::NoData)?;
        let answers = self
            .environment(full_peer, ttl, server, out)
            .map_err(NoRecords::NotRendered)?;
        let additional_at = out.len();
        if answers == 0 || self.summary(peer, ttl, out).is_none() {
            return Err(NoRecords::NoData);
        }
        // The summary belongs to the name without `_env`.
        let owner = packet::pointer_after_label(ENVIRONMENT);
        out[additional_at..additional_at + owner.len()].copy_from_slice(&owner);
        Ok(RecordCounts {
            answers,
            additional: 1,
            additional_at,
        })
    }

    /// Whether a peer may start: outside the root sequence it needs a root node.
    fn may_start(&self, peer: &PeerRecord) -> bool {
        peer.id.sequence == self.zone.rules.root_sequence
            || self.roots_for(Some(peer.address)).next().is_some()
    }

    /// Writes the TXT record of a peer: `id=vp1`, `root=…`, `n=4`, `f=1`, `address=…`,
    /// `role=mixed`, `epoch=3`.
    pub(super) fn summary(&self, peer: &PeerRecord, ttl: u32, out: &mut Vec<u8>) -> Option<()> {
        let mut roots = self.roots.iter();
        let network = match roots.find(|root| root.address == peer.address) {
            Some(root) => &root.network_strings,
            None => &self.network_strings,
        };
        let network = network.as_ref()?;
        packet::record(TXT, ttl, out, |out| {
            let start = out.len();
            out.extend_from_slice(&self.id_prefixes[usize::from(peer.id.sequence.0)]);
            packet::decimal(peer.id.number.into(), out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            out.extend_from_slice(network);
            let start = out.len();
            out.extend_from_slice(b"\0address=");
            match peer.address {
                IpAddr::V4(address) => packet::ipv4(address, out),
                // Writing to a vector does not fail.
                IpAddr::V6(address) => write!(out, "[{address}]").ok()?,
            }
            out[start] = u8::try_from(out.len() - start - 1 + self.port_octets).ok()?;
            out.extend_from_slice(&self.address_suffixes[usize::from(peer.role.0)]);
            let start = out.len() - EPOCH_OCTETS;
            packet::decimal(peer.epoch, out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            Some(())
        })
    }

    /// Writes the SRV records of the root nodes, and their addresses.
    fn root_services(
        &self,
        peer: &PeerRecord,
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> Option<RecordCounts> {
        let count = self.services(peer, ttl, out)?;
        let additional_at = out.len();
        for root in self.roots_for(Some(peer.address)) {
            out.extend(&root.name);
            packet::address_record(root.address, self.zone.ttl, out);
        }
        (count > 0).then_some(RecordCounts {
            answers: count,
            additional: count,
            additional_at,
        })
    }

    /// Writes the SRV records of the root nodes, best first, and returns their number. The
    /// priority is the rank, from 0.
    pub(super) fn services(&self, peer: &PeerRecord, ttl: u32, out: &mut Vec<u8>) -> Option<u16> {
        let mut count = 0u16;
        for root in self.roots_for(Some(peer.address)) {
            packet::record(SRV, ttl, out, |out| {
                out.extend(count.to_be_bytes());
                out.extend([0, 0]);
                out.extend(self.zone.root_port.to_be_bytes());
                out.extend(&root.name);
                Some(())
            })?;
            count += 1;
        }
        Some(count)
    }

    /// Writes the environment of a peer, one record for each variable, and returns their
    /// number.
    fn environment(
        &self,
        peer: &Peer,
        ttl: u32,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<u16, RenderError> {
        let profile = &self.zone.profiles[usize::from(peer.role.0)];
        let server_used = profile.environment.uses("server").then_some(server);
        let key = self.inputs.key_of(peer, server_used, ttl);
        let hash = self.environments.hash_of(&key);
        if let Some(records) = self.environments.write(&key, hash, out) {
            return Ok(records);
        }
        let start = out.len();
        let rendered = self.zone.variables(&self.network, peer, server);
        self.zone.log_render_error(peer, rendered.as_ref().err());
        let records = write_variables(&rendered?, ttl, out);
        self.environments.insert(key, hash, records, &out[start..]);
        Ok(records)
    }
}

/// The counts of a single answer, which has been written.
fn one_answer(out: &[u8]) -> RecordCounts {
    RecordCounts {
        answers: 1,
        additional: 0,
        additional_at: out.len(),
    }
}

/// Writes one record for each variable, and returns their number.
pub(super) fn write_variables(variables: &[String], ttl: u32, out: &mut Vec<u8>) -> u16 {
    let mut records = 0;
    for text in variables {
        // A value is far shorter than the maximum of a record.
        let written = packet::record(TXT, ttl, out, |out| {
            packet::text(out, text.as_bytes());
            Some(())
        });
        records += u16::from(written.is_some());
    }
    records
}
