//! DNS UPDATE (RFC 2136): administrators change a zone.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, RecordType},
};

use super::{
    Outcome,
    pending::Work,
    responder::{Exchange, Responder},
};
use crate::server::extended_error::ExtendedError;

impl Responder {
    pub(super) fn update(
        &self,
        asked: &Exchange<'_>,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> Outcome {
        // Truncation would be taken for success: `nsupdate` does not ask again.
        if !asked.client().is_proven {
            let text = "the source of the update is not proven: send it by TCP or signed";
            return asked.prohibited(text, out);
        }
        // RFC 2136, section 3.1.
        let Some(zone) = message
            .queries
            .first()
            .filter(|zone| zone.query_type() == RecordType::SOA)
        else {
            let error = ExtendedError::other("an update names one zone, with the type SOA");
            return asked.error(ResponseCode::FormErr, Some(error), out);
        };
        let known = asked.found.zone;
        let known = known.filter(|state| state.view.zone.origin == *zone.name());
        let Some(state) = known.filter(|_| zone.query_class() == DNSClass::IN) else {
            let error = ExtendedError::other(format!("it has no zone {}", zone.name()));
            return asked.error(ResponseCode::NotAuth, Some(error), out);
        };
        // Before the prerequisites, which would tell what there is.
        let signature = asked.reply.signature;
        if let Err(refusal) = self.policy.may_update(asked.client(), signature) {
            return asked.refuse(refusal, out);
        }
        let zone = &state.view.zone;
        match zone.update(&message.answers, &message.authorities) {
            Ok(update) => asked.later(Work::Update {
                zone: state.place,
                update,
            }),
            Err(refusal) => {
                let error = ExtendedError::other(refusal.text);
                asked.error(refusal.code, Some(error), out)
            }
        }
    }
}
