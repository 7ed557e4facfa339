//! DNS UPDATE (RFC 2136), by which administrators change a zone.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, RecordType},
};

use super::{
    Outcome,
    pending::Operation,
    responder::{Exchange, Responder},
};
use crate::registry::Action;

impl Responder {
    pub(super) fn update(
        &self,
        exchange: &Exchange<'_>,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> Outcome {
        // `nsupdate` takes a truncated response for success, and does not repeat the
        // update.
        if !exchange.client().is_verified {
            let text = "the source of the update is not verified: send it by TCP or sign it";
            return exchange.prohibited(text, out);
        }
        // RFC 2136, section 3.1, requires one zone, with the type SOA.
        let zone = message.queries.first();
        let Some(zone) = zone.filter(|zone| zone.query_type() == RecordType::SOA) else {
            let reason = "an update must name one zone, with the type SOA";
            return exchange.failed(ResponseCode::FormErr, reason, out);
        };
        let state = exchange.zone_query.zone.filter(|state| {
            state.view.zone.origin == *zone.name() && zone.query_class() == DNSClass::IN
        });
        let Some(state) = state else {
            let reason = format!("it has no zone {}", zone.name());
            return exchange.failed(ResponseCode::NotAuth, reason, out);
        };
        // This check precedes the prerequisites, which would reveal what exists.
        let signature = exchange.reply.signature;
        if let Err(error) = self.policy.may_update(exchange.client(), signature) {
            return exchange.reject(error, out);
        }
        let zone = &state.view.zone;
        match zone.update(&message.answers, &message.authorities) {
            Ok(update) => exchange.defer(Operation::Change {
                zone: state.index,
                action: Action::Update(update),
            }),
            Err(refusal) => exchange.failed(refusal.code, refusal.text, out),
        }
    }
}
