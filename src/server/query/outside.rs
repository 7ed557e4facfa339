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
use crate::server::{
    extended_error::ExtendedError,
    forward::{self, local},
};

impl Responder {
    pub(super) fn answer_outside(
        &self,
        exchange: &Exchange<'_>,
        owner: &Name,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (query, client) = (exchange.query(), exchange.client());
        let rtype = RecordType::from(query.rtype());
        let no_such_zone = |out| {
            let error = ExtendedError::other("no zone of this service has that name");
            exchange.error(ResponseCode::Refused, Some(error), out)
        };
        // Zone transfers are not forwarded.
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            return no_such_zone(out);
        }
        if let Some(answer) = local::answer(owner, rtype, self.forwarder.is_some()) {
            exchange.reply.answer(answer, out);
            return Outcome::Reply;
        }
        // A client that requests no recursion queries other servers itself.
        let forwarder = self.forwarder.as_ref();
        let Some(forwarder) = forwarder.filter(|_| query.is_recursive()) else {
            return no_such_zone(out);
        };
        if !self.policy.may_forward(client) {
            return exchange.prohibited("queries are not forwarded for your network", out);
        }
        let permit = match forwarder.admit(client.source.ip) {
            Ok(permit) => permit,
            Err(reason) => {
                let error = ExtendedError::other(reason);
                return exchange.error(ResponseCode::ServFail, Some(error), out);
            }
        };
        let forwarding = forwarder
            .clone()
            .forward(forward::UpstreamQuery::new(query), permit);
        exchange.defer(Operation::Forward(Box::pin(forwarding)))
    }
}
