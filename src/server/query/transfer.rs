//! Zone transfers (AXFR, RFC 5936; IXFR, RFC 1995).

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};

use super::{
    Outcome,
    responder::{Exchange, Responder},
    snapshot::ZoneState,
};
use crate::{
    server::{
        policy::source::Transport,
        transfer::{Transfer, TransferContent},
    },
    zone::QueryName,
};

impl Responder {
    pub(super) fn transfer(
        &self,
        exchange: &Exchange<'_>,
        zone: &ZoneState,
        name: &QueryName,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (client, reply) = (exchange.client(), &exchange.reply);
        if !client.is_allowed(&self.policy.access.transfer) {
            return exchange.prohibited("your network may not transfer zones", out);
        }
        let content = match name {
            QueryName::Apex => TransferContent::Zone,
            QueryName::Status => TransferContent::Status(self.clock.now()),
            _ => {
                let reason = "only the origin of a zone can be transferred";
                return exchange.failed(ResponseCode::NotAuth, reason, out);
            }
        };
        let view = &zone.view;
        let is_udp = client.source.transport == Transport::Udp;
        // RFC 1995, section 2: a client that has this serial, or uses UDP, gets the
        // SOA record alone. Every other client gets the whole zone, since no
        // differences are kept.
        if let Some(serial) = exchange.serial() {
            let newer = (view.network.revision() as u32).wrapping_sub(serial) as i32;
            if newer <= 0 || is_udp {
                reply.answer(view.zone.soa_answer(&view.network), out);
                return Outcome::Reply;
            }
        }
        // A full transfer by UDP is not defined (RFC 5936, section 4.2).
        if is_udp {
            return exchange.error(ResponseCode::FormErr, None, out);
        }
        Outcome::Transfer(Box::new(Transfer::new(reply, view.clone(), content)))
    }
}

impl Exchange<'_> {
    /// The client's serial in a query for an incremental transfer.
    fn serial(&self) -> Option<u32> {
        if RecordType::from(self.query().rtype()) != RecordType::IXFR {
            return None;
        }
        let mut records = self.parsed?.message.authorities.iter();
        records.find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
    }
}
