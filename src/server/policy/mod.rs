//! Identifies and verifies clients, controls their access, and limits their rates.
//!
//! The input is the source of a message, its cookie and its signature; the output is
//! a decision. Every such decision is made here and nowhere else, whatever the
//! transport. This module looks nothing up in a zone, writes no reply and changes no
//! registration.
//!
//! * [`client`]: the client that sent a message; [`source`]: its address and transport.
//! * `access`: evaluates access lists.
//! * [`cookie`]: DNS cookies, which verify sources by UDP; `secrets`: their secrets.
//! * [`tsig`]: signed messages; `replay`: rejects those that are received again.
//! * [`limits`]: rate limits, implemented by `rate`; `tally`: counts for the log.

mod access;
pub mod client;
pub mod cookie;
pub mod limits;
mod rate;
mod replay;
mod secrets;
pub mod source;
mod tally;
pub mod tsig;

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use hickory_proto::op::Message;

use self::{
    access::are_networks_of,
    client::Client,
    cookie::Cookies,
    limits::{Limiter, NewHostPermit, Verdict},
    replay::{ReplayCache, ReplayError},
    source::Source,
    tsig::{Signature, TsigStatus},
};
use super::{
    config::{Config, access::Access, keys::Keys},
    extended_error::ExtendedError,
};
use crate::{
    network::{Holder, Hostname, Network, Time},
    zone::RegisterKeys,
};

/// Makes the decisions about clients.
pub struct Policy {
    access: Access,
    keys: Keys,
    replays: ReplayCache,
    pub cookies: Arc<Cookies>,
    limiter: Arc<Limiter>,
}

/// Why the policy rejects a request.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyError {
    /// The source is not verified: the client must repeat the query with the cookie
    /// from the response, or by TCP.
    Unverified,
    /// The request is refused for this reason.
    Refused(ExtendedError),
}

impl PolicyError {
    fn prohibited(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(ExtendedError::prohibited(text))
    }
}

impl From<ReplayError> for PolicyError {
    fn from(error: ReplayError) -> Self {
        Self::prohibited(error.to_string())
    }
}

/// The extended error for a refusal by a limit.
fn refused(reason: &str) -> ExtendedError {
    ExtendedError::other(reason.to_owned())
}

impl Policy {
    pub fn new(config: &Config, cookies: Arc<Cookies>, limiter: Arc<Limiter>) -> Self {
        Self {
            access: config.access.clone(),
            keys: config.keys.clone(),
            replays: ReplayCache::new(tsig::now()),
            cookies,
            limiter,
        }
    }

    /// Returns whether any key is configured.
    pub fn has_keys(&self) -> bool {
        !self.keys.0.is_empty()
    }

    /// Checks the signature of a message.
    pub fn check_signature(&self, packet: &[u8], message: &Message) -> TsigStatus {
        self.keys.check(packet, message, tsig::now())
    }

    /// Applies response rate limiting to the response to this client.
    pub fn verdict(&self, client: &Client<'_>, now: Time) -> Verdict {
        self.limiter
            .verdict(*client.source, client.is_verified, now)
    }

    /// Like [`verdict`](Self::verdict), for a message that cannot be parsed: nothing
    /// in it verifies its source.
    pub fn verdict_unparsed(&self, source: &Source, now: Time) -> Verdict {
        self.limiter.verdict(*source, source.is_verified(), now)
    }

    /// Returns whether a query from this source can be allowed at all.
    pub fn may_connect(&self, source: Source) -> bool {
        self.access.query.may_allow(source.ip)
    }

    pub fn may_query(&self, client: &Client<'_>) -> bool {
        self.access.query.allows(client.source.ip, client.key)
    }

    pub fn may_transfer(&self, client: &Client<'_>) -> bool {
        self.access.transfer.allows(client.source.ip, client.key)
    }

    pub fn may_forward(&self, client: &Client<'_>) -> bool {
        self.access.forward.allows(client.source.ip, client.key)
    }

    /// Returns whether the client may query a name that registers, and the holder that it
    /// would be. `required` are the keys that the zone requires.
    pub fn may_register(
        &self,
        client: &Client<'_>,
        required: Option<&RegisterKeys>,
        signature: Option<&Signature>,
    ) -> Result<Holder, PolicyError> {
        // This check is the first, so that a forged source gets no larger response.
        if !client.is_verified {
            return Err(PolicyError::Unverified);
        }
        if let Some(signature) = signature {
            self.replays.admit(signature, tsig::now())?;
        }
        if !self.access.register.allows(client.source.ip, client.key) {
            return Err(PolicyError::prohibited("your network may not register"));
        }
        if let Some(required) = required
            && !client.key.is_some_and(|key| required.has(key))
        {
            let text = "registration in this zone requires a signature with its key";
            return Err(PolicyError::prohibited(text));
        }
        let address = client.address().map_err(|address| {
            let text = format!("no peer can have the address {address}");
            PolicyError::Refused(ExtendedError::other(text))
        })?;
        let source = self.source_elsewhere(client.source);
        Ok(Holder { source, address })
    }

    /// The source address that a server on another node would see. A client in a network
    /// that this node masquerades has the address of the node there, at which it asks the
    /// server on this node.
    fn source_elsewhere(&self, source: &Source) -> IpAddr {
        if are_networks_of(&self.access.masqueraded, source.ip) {
            source.server
        } else {
            source.ip
        }
    }

    /// Returns whether the client may update zones.
    pub fn may_update(
        &self,
        client: &Client<'_>,
        signature: Option<&Signature>,
    ) -> Result<(), PolicyError> {
        if !self.access.update.allows(client.source.ip, client.key) {
            return Err(match client.key {
                Some(key) => PolicyError::prohibited(format!(
                    "neither your network nor the key {key} may update zones"
                )),
                None => PolicyError::prohibited("your network may not update zones"),
            });
        }
        // An unsigned update needs no such check: a client that may update by its
        // address alone may repeat an update as often as it wants.
        if let Some(signature) = signature {
            self.replays.admit_update(signature, tsig::now())?;
        }
        Ok(())
    }

    /// Applies the limits of new hosts for each source and of changes for each host
    /// to a registration. A client that gives up while the disk hangs gets no refund:
    /// the host may still be registered.
    pub fn admit(
        &self,
        zone: usize,
        host: &Hostname,
        asker: &Holder,
        network: &Network,
        now: Time,
    ) -> Result<Option<NewHostPermit>, ExtendedError> {
        let Some(peer) = network.host(host) else {
            let permit = self.limiter.new_host(asker.source, now);
            return permit.map(Some).map_err(refused);
        };
        // While the lease is running, no other client gets it.
        if peer.holder != *asker && !peer.lease.is_running(now, network.rules().lease) {
            self.may_change(zone, host, asker, now)?;
        }
        Ok(None)
    }

    /// Returns whether the host may get another holder, or leave.
    pub fn may_change(
        &self,
        zone: usize,
        host: &Hostname,
        asker: &Holder,
        now: Time,
    ) -> Result<(), ExtendedError> {
        let result = self.limiter.may_change(zone, host, asker.source, now);
        result.map_err(refused)
    }

    /// Refunds a permit for a host that was not new.
    pub fn refund(&self, new_host: NewHostPermit) {
        self.limiter.refund(new_host);
    }
}
