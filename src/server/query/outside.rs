//! Names outside all zones.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::{
    Outcome,
    pending::Work,
    responder::{Exchange, Responder},
};
use crate::server::{
    extended_error::ExtendedError,
    forward::{self, local},
};

impl Responder {
    pub(super) fn outside(&self, asked: &Exchange<'_>, owner: &Name, out: &mut Vec<u8>) -> Outcome {
        let (query, client) = (asked.query(), asked.client());
        let rtype = RecordType::from(query.rtype());
        let no_such_zone = |out| {
            let error = ExtendedError::other("no zone of this service has that name");
            asked.error(ResponseCode::Refused, Some(error), out)
        };
        // By way of others no zone is transferred.
        if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
            return no_such_zone(out);
        }
        if let Some(answer) = local::answer(owner, rtype, self.forwarder.is_some()) {
            asked.reply.answer(answer, out);
            return Outcome::Reply;
        }
        // Nobody is asked on behalf of a resolver that asks the servers itself.
        let forwarder = self.forwarder.as_ref();
        let Some(forwarder) = forwarder.filter(|_| query.is_recursive()) else {
            return no_such_zone(out);
        };
        if !self.policy.may_forward(client) {
            return asked.prohibited("names are not forwarded for your network", out);
        }
        let admitted = match forwarder.admit(client.source.ip) {
            Ok(admitted) => admitted,
            Err(why) => {
                let error = ExtendedError::other(why);
                return asked.error(ResponseCode::ServFail, Some(error), out);
            }
        };
        let forwarded = forwarder
            .clone()
            .forward(forward::UpstreamQuery::new(query), admitted);
        asked.later(Work::Forward(Box::pin(forwarded)))
    }
}
