//! DNS UPDATE (RFC 2136): administrators change a zone.

use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};
use hickory_server::server::Request;

use super::{outcome::Outcome, shared::Inner};
use crate::{
    registry::{Action, Denial},
    server::{
        extended_error::ExtendedError,
        policy::{source::Source, tsig},
        reply::{Reply, Terms},
    },
};

impl Inner {
    /// Handles an update whose source is proven.
    pub(super) fn update(
        self: Arc<Self>,
        request: Request,
        terms: Terms,
        source: Source,
    ) -> Outcome {
        let reply = Reply::new(&request, &terms);
        // RFC 2136, section 3.1.
        let zones = request.queries.queries();
        let Some(zone) = zones
            .first()
            .filter(|zone| zone.query_type() == RecordType::SOA)
        else {
            let error = ExtendedError::other("an update names one zone, with the type SOA");
            return reply.error(ResponseCode::FormErr, Some(error)).into();
        };
        let origin = zone.original().name();
        let known = self
            .zone_of(origin)
            .filter(|(_, published)| published.zone.origin == *origin);
        let Some((place, published)) = known.filter(|_| zone.query_class() == DNSClass::IN) else {
            let error = ExtendedError::other("no zone of this service has that origin");
            return reply.error(ResponseCode::NotAuth, Some(error)).into();
        };
        // Before the prerequisites, which would tell what there is.
        if !self.access.update.allows(source.ip, terms.key()) {
            let error = ExtendedError::prohibited("your network may not update zones");
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        // Whoever may update by its address alone can say it again as often as it
        // likes.
        if let Some(signature) = terms.signature.as_ref()
            && let Err(replay) = self.replays.admit_update(signature, tsig::now())
        {
            let error = ExtendedError::prohibited(replay.to_string());
            return reply.error(ResponseCode::Refused, Some(error)).into();
        }
        let update = match published
            .zone
            .update(&request.answers, &request.authorities)
        {
            Ok(update) => update,
            Err(refusal) => {
                let error = ExtendedError::other(refusal.text);
                return reply.error(refusal.code, Some(error)).into();
            }
        };
        Outcome::Later(Box::pin(async move {
            let reply = Reply::new(&request, &terms);
            match self.registry.ask(place, Action::Update(update)).await {
                Ok(_) => reply.error(ResponseCode::NoError, None),
                Err(Denial::CannotUpdate(refusal)) => {
                    reply.error(refusal.code, Some(ExtendedError::other(refusal.text)))
                }
                Err(denial) => self.not_served(&reply, &denial),
            }
        }))
    }
}
