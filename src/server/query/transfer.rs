//! Clients copy a zone (AXFR, RFC 5936; IXFR, RFC 1995).

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
        extended_error::ExtendedError,
        policy::source::Transport,
        transfer::{Content, Transfer},
    },
    zone::QueryName,
};

impl Responder {
    pub(super) fn transfer(
        &self,
        asked: &Exchange<'_>,
        zone: &ZoneState,
        name: &QueryName,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let client = asked.client();
        if !self.policy.may_transfer(client) {
            return asked.prohibited("your network may not transfer zones", out);
        }
        let content = match name {
            QueryName::Apex => Content::Zone,
            QueryName::Status => Content::Status(self.clock.now()),
            _ => {
                let error = ExtendedError::other("a transfer names the origin of a zone");
                return asked.error(ResponseCode::NotAuth, Some(error), out);
            }
        };
        let view = &zone.view;
        let is_udp = client.source.transport == Transport::Udp;
        // RFC 1995, section 2: whoever has this serial, or asks by UDP, is given
        // the SOA alone; everyone else the whole zone, since no differences are
        // kept.
        if let Some(serial) = asked.serial() {
            let newer = (view.network.revision() as u32).wrapping_sub(serial) as i32;
            if newer <= 0 || is_udp {
                asked.reply.answer(view.zone.soa_answer(&view.network), out);
                return Outcome::Reply;
            }
        }
        // A full transfer by UDP is not defined (RFC 5936, section 4.2).
        if is_udp {
            return asked.error(ResponseCode::FormErr, None, out);
        }
        Outcome::Transfer(Box::new(Transfer::new(&asked.reply, view.clone(), content)))
    }
}

impl Exchange<'_> {
    /// The serial that the client of an incremental transfer has.
    fn serial(&self) -> Option<u32> {
        if RecordType::from(self.query().rtype()) != RecordType::IXFR {
            return None;
        }
        let mut records = self.whole?.message.authorities.iter();
        records.find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
    }
}
