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
//! * [`limits`]: rate limits, implemented by [`rate`]; `tally`: counts for the log.

mod access;
pub mod client;
pub mod cookie;
pub mod limits;
pub mod rate;
mod replay;
mod secrets;
pub mod source;
mod tally;
pub mod tsig;

use std::{borrow::Cow, sync::Arc};

use hickory_proto::op::Message;

use self::{
    access::are_networks_of,
    client::Client,
    cookie::Cookies,
    limits::Limiter,
    rate::Token,
    replay::ReplayCache,
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
    pub access: Access,
    keys: Keys,
    replays: ReplayCache,
    pub cookies: Arc<Cookies>,
    pub limiter: Arc<Limiter>,
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

    /// Returns whether the message has a valid signature.
    pub fn is_signed(&self, packet: &[u8]) -> bool {
        !self.keys.0.is_empty()
            && Message::from_vec(packet)
                .is_ok_and(|message| self.check_signature(packet, &message).key().is_some())
    }

    /// Checks the signature of a message.
    pub fn check_signature(&self, packet: &[u8], message: &Message) -> TsigStatus {
        self.keys.check(packet, message, tsig::now())
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
            let admitted = self.replays.admit(signature, tsig::now());
            admitted.map_err(PolicyError::prohibited)?;
        }
        if !client.is_allowed(&self.access.register) {
            return Err(PolicyError::prohibited("your network may not register"));
        }
        if let Some(required) = required
            && !client.key.is_some_and(|key| required.has(key))
        {
            let text = "registration in this zone requires a signature with its key";
            return Err(PolicyError::prohibited(text));
        }
        let address = client.address().map_err(PolicyError::Refused)?;
        // The source address that a server on another node would see. A client in a
        // network that this node masquerades has the address of the node there, at which
        // it asks the server on this node.
        let is_masqueraded = are_networks_of(&self.access.masqueraded, client.source.ip);
        let source = if is_masqueraded {
            client.source.server
        } else {
            client.source.ip
        };
        Ok(Holder { source, address })
    }

    /// Returns whether the client may update zones.
    pub fn may_update(
        &self,
        client: &Client<'_>,
        signature: Option<&Signature>,
    ) -> Result<(), PolicyError> {
        if !client.is_allowed(&self.access.update) {
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
            let admitted = self.replays.admit_update(signature, tsig::now());
            admitted.map_err(PolicyError::prohibited)?;
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
    ) -> Result<Option<Token>, ExtendedError> {
        let Some(peer) = network.host(host) else {
            return self.limiter.new_host(asker.source, now);
        };
        // While the lease is running, no other client gets it.
        if peer.holder != *asker && !peer.lease.is_running(now, network.rules().lease) {
            self.limiter.may_change(zone, host, asker.source, now)?;
        }
        Ok(None)
    }
}
