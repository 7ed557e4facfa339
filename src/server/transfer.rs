//! A whole zone in messages (AXFR, RFC 5936).

use std::sync::Arc;

use hickory_proto::{
    rr::{RData, Record},
    serialize::binary::{BinEncodable, BinEncoder},
};
use hickory_server::server::Request;

use super::reply::{Reply, Terms};
use crate::{
    network::{Network, Time},
    zone::Zone,
};

/// How many octets of records go into one message, before names are
/// compressed. A name can point no further back than 16 kB.
const MESSAGE_OCTETS: usize = 16_384;

/// What is transferred.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// The zone.
    Zone,
    /// The zone below `_peers`: the state of each peer at that time.
    Status(Time),
}

/// A transfer to be made. It holds the network as it was when it was asked
/// for, so that all of it belongs to one serial however long it takes.
pub struct Transfer {
    pub request: Request,
    pub terms: Terms,
    pub zone: Arc<Zone>,
    pub network: Arc<Network>,
    pub content: Content,
}

impl Transfer {
    /// The messages, each made when it is taken.
    pub fn messages(&self) -> impl Iterator<Item = Vec<u8>> + Send {
        let reply = Reply::new(&self.request, &self.terms);
        let mut records = self.records().peekable();
        let mut signature = self.terms.signature.clone();
        let mut first = true;
        std::iter::from_fn(move || {
            let is_first = std::mem::take(&mut first);
            let mut message = reply.transfer(is_first);
            let mut octets = 0;
            while let Some(record) =
                records.next_if(|record| octets == 0 || octets + length(record) <= MESSAGE_OCTETS)
            {
                octets += length(&record);
                message.answers.push(record);
            }
            if message.answers.is_empty() {
                return None;
            }
            let octets = message.to_vec().ok()?;
            match &mut signature {
                Some(signature) if is_first => signature.sign(octets),
                Some(signature) => signature.sign_next(octets),
                None => Some(octets),
            }
        })
    }

    /// The SOA first, and again at the end (RFC 5936, section 2.2).
    fn records(&self) -> impl Iterator<Item = Record> + Send {
        let zone = match self.content {
            Content::Zone => Some(self.zone.content(&self.network)),
            Content::Status(_) => None,
        };
        let status = match self.content {
            Content::Status(now) => Some(self.zone.status(&self.network, now)),
            Content::Zone => None,
        };
        let mut records = zone
            .into_iter()
            .flatten()
            .chain(status.into_iter().flatten());
        let soa = records.next();
        soa.clone().into_iter().chain(records).chain(soa)
    }
}

/// How many octets a record takes when its names are not compressed. Where a
/// record cannot be written, the message that it goes into cannot either.
fn length(record: &Record) -> usize {
    let data = match &record.data {
        RData::TXT(txt) => txt.txt_data.iter().map(|string| 1 + string.len()).sum(),
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::SRV(srv) => 6 + srv.target.len(),
        _ => {
            let mut octets = Vec::new();
            let mut encoder = BinEncoder::new(&mut octets);
            let _ = record.emit(&mut encoder);
            octets.len()
        }
    };
    record.name.len() + 10 + data
}
