//! Answers queries for names outside all zones.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::{
    Outcome,
    pending::Operation,
    responder::{Exchange, Responder},
};
use crate::server::forward::{self, local};

impl Responder {
    pub(super) fn answer_outside(
        &self,
        exchange: &Exchange<'_>,
        owner: &Name,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (exchange.query(), exchange.client());
        let rtype = RecordType::from(query.rtype());
        let no_such_zone = "no zone of this service has that name";
        // Zone transfers are not forwarded.
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            return exchange.failed(ResponseCode::Refused, no_such_zone, out);
        }
        if let Some(answer) = local::answer(owner, rtype, self.forwarder.is_some()) {
            exchange.reply.answer(answer, out);
            return Outcome::Reply;
        }
        // A client that requests no recursion queries other servers itself.
        let forwarder = self.forwarder.as_ref();
        let Some(forwarder) = forwarder.filter(|_| query.is_recursive()) else {
            return exchange.failed(ResponseCode::Refused, no_such_zone, out);
        };
        if !client.is_allowed(&self.policy.access.forward) {
            return exchange.prohibited("queries are not forwarded for your network", out);
        }
        let permit = match forwarder.admission.admit(client.source.ip) {
            Ok(permit) => permit,
            Err(reason) => return exchange.failed(ResponseCode::ServFail, reason, out),
        };
        let forwarding = forwarder
            .clone()
            .forward(forward::UpstreamQuery::new(query), permit);
        exchange.defer(Operation::Forward(Box::pin(forwarding)))
    }
}
