//! The records of a registered peer, as octets.
//!
//! Every answer about one is written here, whichever way it goes out. Nothing
//! allocates, unless an environment has to be rendered.

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

/// How long `epoch=` is, with its length before it.
const EPOCH_OCTETS: usize = 7;

/// How many records an answer has, and where those begin that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub answers: u16,
    pub additional: u16,
    /// Where the additional records begin in what was written to.
    pub additional_at: usize,
}

/// Why a question about a registered peer has no records of it as its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRecords {
    /// No root node is live, and a peer of its role cannot be the first.
    NoRoot,
    /// A query for ANY is given less (RFC 8482).
    Any,
    /// The lease has ended, and with it the address.
    LeaseEnded,
    /// The environment cannot be rendered, and why.
    NotRendered(RenderError),
    /// There are none of the type, or not here.
    OfType,
}

impl ZoneView {
    /// Writes the records that answer a question about a registered peer, behind the
    /// question itself, which stands behind a header. `server` is the address at
    /// which the service was asked.
    #[inline(always)]
    pub fn write(
        &self,
        found: &Lookup<'_>,
        form: Form,
        rtype: u16,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<Written, NoRecords> {
        let (peer, in_role, ttl) = match found {
            // Answers that register must reach the service each time.
            Lookup::Host { peer, in_role } => (&PeerRecord::from(&***peer), *in_role, 0),
            Lookup::Id(peer) => (peer, false, self.zone.ttl),
        };
        let written = match (form, rtype, peer.address) {
            (_, TXT | SRV, _) if !self.finds_root(peer) => return Err(NoRecords::NoRoot),
            (Form::Plain, TXT, _) => self.summary(peer, ttl, out).map(|()| (1, 0, out.len())),
            (Form::Environment, TXT, _) => {
                return self.write_environment(found, peer, ttl, server, out);
            }
            (Form::Plain, SRV, _) => self.root_services(peer, ttl, out),
            (Form::Plain, A | AAAA, _) if !in_role && !self.network.is_live(peer.id) => {
                return Err(NoRecords::LeaseEnded);
            }
            (Form::Plain, A, address @ IpAddr::V4(_))
            | (Form::Plain, AAAA, address @ IpAddr::V6(_))
                if !in_role =>
            {
                out.extend(packet::QUESTION);
                packet::address_record(address, self.zone.ttl, out);
                Some((1, 0, out.len()))
            }
            (_, ANY, _) => return Err(NoRecords::Any),
            _ => None,
        };
        let (answers, additional, additional_at) = written.ok_or(NoRecords::OfType)?;
        Ok(Written {
            answers,
            additional,
            additional_at,
        })
    }

    /// Writes the variables, and beside them the summary, which says who the holder
    /// is: so the asker sees in one message whether this environment is its own.
    fn write_environment(
        &self,
        found: &Lookup<'_>,
        peer: &PeerRecord,
        ttl: u32,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<Written, NoRecords> {
        let whole = found.host().or_else(|| self.network.peer(peer.id));
        let whole = whole.ok_or(NoRecords::OfType)?;
        let answers = self
            .environment(whole, ttl, server, out)
            .map_err(NoRecords::NotRendered)?;
        let additional_at = out.len();
        if answers == 0 || self.summary(peer, ttl, out).is_none() {
            return Err(NoRecords::OfType);
        }
        // The question's name without its first label.
        let owner = packet::pointer_behind_label(ENVIRONMENT);
        out[additional_at..additional_at + owner.len()].copy_from_slice(&owner);
        Ok(Written {
            answers,
            additional: 1,
            additional_at,
        })
    }

    /// Whether a peer may start: one of another sequence needs a root node.
    fn finds_root(&self, peer: &PeerRecord) -> bool {
        peer.id.sequence == self.zone.rules.root_sequence
            || self.roots_for(Some(peer.address)).next().is_some()
    }

    /// A peer's strings: `id=vp1`, `root=…`, `n=4`, `f=1`, `address=…`,
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
            out.extend_from_slice(&self.ids[usize::from(peer.id.sequence.0)]);
            packet::decimal(peer.id.number.into(), out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            out.extend_from_slice(network);
            let start = out.len();
            out.extend_from_slice(b"\0address=");
            match peer.address {
                IpAddr::V4(address) => packet::dotted(address, out),
                // A vector takes all that is written.
                IpAddr::V6(address) => write!(out, "[{address}]").ok()?,
            }
            out[start] = u8::try_from(out.len() - start - 1 + self.port_octets).ok()?;
            out.extend_from_slice(&self.tails[usize::from(peer.role.0)]);
            let start = out.len() - EPOCH_OCTETS;
            packet::decimal(peer.epoch, out);
            out[start] = u8::try_from(out.len() - start - 1).ok()?;
            Some(())
        })
    }

    /// The root nodes, and their addresses.
    fn root_services(
        &self,
        peer: &PeerRecord,
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> Option<(u16, u16, usize)> {
        let count = self.services(peer, ttl, out)?;
        let additional_at = out.len();
        for root in self.roots_for(Some(peer.address)) {
            out.extend(&root.name);
            packet::address_record(root.address, self.zone.ttl, out);
        }
        (count > 0).then_some((count, count, additional_at))
    }

    /// The root nodes, best first: the priority is the rank, from 0. Gives how many
    /// they are.
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

    /// Writes the environment of a peer, a record for each variable; gives how many
    /// these are.
    fn environment(
        &self,
        peer: &Peer,
        ttl: u32,
        server: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<u16, RenderError> {
        let profile = &self.zone.profiles[usize::from(peer.role.0)];
        let server_named = profile.environment.names("server").then_some(server);
        let key = self.inputs.key_of(peer, server_named, ttl);
        let hash = self.environments.hash_of(&key);
        if let Some(records) = self.environments.write(&key, hash, out) {
            return Ok(records);
        }
        let start = out.len();
        let rendered = self.zone.variables(&self.network, peer, server);
        self.zone.note_failing(peer, rendered.as_ref().err());
        let records = write_variables(&rendered?, ttl, out);
        self.environments.keep(key, hash, records, &out[start..]);
        Ok(records)
    }
}

/// Writes the variables of an environment, a record each; gives how many these are.
pub(super) fn write_variables(variables: &[String], ttl: u32, out: &mut Vec<u8>) -> u16 {
    let mut records = 0;
    for text in variables {
        // A value is far shorter than what a record may have.
        let written = packet::record(TXT, ttl, out, |out| {
            packet::text(out, text.as_bytes());
            Some(())
        });
        records += u16::from(written.is_some());
    }
    records
}
