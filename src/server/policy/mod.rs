//! Who asks, whether that is proven, what it may do, and how often.
//!
//! In come the source of a message, its cookie and its signature; out come decisions,
//! each of which is made here and nowhere else, whatever the transport. Nothing here
//! looks anything up in a zone, writes a reply or changes a registration.
//!
//! * [`client`]: who sent a message; [`source`]: where it came from.
//! * `access`: whether a list allows a source.
//! * [`cookie`]: DNS cookies, by which UDP can be trusted; `secrets`: what makes them.
//! * [`tsig`]: signed messages; `replay`: those that come a second time.
//! * [`limits`]: how much one source may ask for, by `rate`; `tally`: what the log is
//!   told of it.

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
    client::Client,
    cookie::Cookies,
    limits::{Limiter, NewHost, Verdict},
    replay::Replays,
    source::Source,
    tsig::{Signature, Signed},
};
use super::{
    config::{Config, access::Access, keys::Keys},
    extended_error::ExtendedError,
};
use crate::{
    network::{Holder, Hostname, Network, Time},
    zone::RegisterKeys,
};

/// All that decisions are made by.
pub struct Policy {
    access: Access,
    keys: Keys,
    replays: Replays,
    pub cookies: Arc<Cookies>,
    limiter: Arc<Limiter>,
}

/// Why somebody may not do something.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The source is not proven: the client is to ask again, with the cookie that it
    /// is given or by TCP.
    Unproven,
    /// Refused, and why.
    Refused(ExtendedError),
}

impl Refusal {
    fn prohibited(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(ExtendedError::prohibited(text))
    }
}

impl Policy {
    pub fn new(config: &Config, cookies: Arc<Cookies>, limiter: Arc<Limiter>) -> Self {
        Self {
            access: config.access.clone(),
            keys: config.keys.clone(),
            replays: Replays::new(tsig::now()),
            cookies,
            limiter,
        }
    }

    /// Whether anybody can sign.
    pub fn has_keys(&self) -> bool {
        !self.keys.0.is_empty()
    }

    /// What the signature of a message is worth.
    pub fn check_signature(&self, packet: &[u8], message: &Message) -> Signed {
        self.keys.check(packet, message, tsig::now())
    }

    /// Whether a reply may be sent: not too many to those who may not have asked.
    pub fn verdict(&self, client: &Client<'_>, now: Time) -> Verdict {
        self.limiter.verdict(*client.source, client.is_proven, now)
    }

    /// The same for a message that nobody can read, and that so proves nothing.
    pub fn verdict_unread(&self, source: &Source, now: Time) -> Verdict {
        self.limiter.verdict(*source, source.is_proven(), now)
    }

    /// Whether the source may ask anything at all.
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

    /// Whether the client may ask for a name that registers, in a zone that demands
    /// one of these keys. Gives the address that it would be registered with.
    pub fn may_register(
        &self,
        client: &Client<'_>,
        demanded: Option<&RegisterKeys>,
        signature: Option<&Signature>,
    ) -> Result<IpAddr, Refusal> {
        // First of all, so that a forged source is sent no more than this.
        if !client.is_proven {
            return Err(Refusal::Unproven);
        }
        if let Some(signature) = signature
            && let Err(replay) = self.replays.admit(signature, tsig::now())
        {
            let error = ExtendedError::prohibited(replay.to_string());
            return Err(Refusal::Refused(error));
        }
        if !self.access.register.allows(client.source.ip, client.key) {
            return Err(Refusal::prohibited("your network may not register"));
        }
        if let Some(demanded) = demanded
            && !client.key.is_some_and(|key| demanded.has(key))
        {
            let text = "this zone registers only who signs with its key";
            return Err(Refusal::prohibited(text));
        }
        client.address().map_err(|address| {
            let text = format!("no peer can have the address {address}");
            Refusal::Refused(ExtendedError::other(text))
        })
    }

    /// Whether the client may update zones at all.
    pub fn may_update(
        &self,
        client: &Client<'_>,
        signature: Option<&Signature>,
    ) -> Result<(), Refusal> {
        if !self.access.update.allows(client.source.ip, client.key) {
            return Err(match client.key {
                Some(key) => Refusal::prohibited(format!(
                    "neither your network nor the key {key} may update zones"
                )),
                None => Refusal::prohibited("your network may not update zones"),
            });
        }
        // Whoever may update by its address alone can say it again as often as it
        // likes.
        if let Some(signature) = signature
            && let Err(replay) = self.replays.admit_update(signature, tsig::now())
        {
            let error = ExtendedError::prohibited(replay.to_string());
            return Err(Refusal::Refused(error));
        }
        Ok(())
    }

    /// Whether the host may ask the registry: a source may register only so many new
    /// hosts, and a host may change its holder only so often. A client that gives up
    /// while the disk hangs has used that up: the host may be registered yet.
    pub fn admit(
        &self,
        zone: usize,
        host: &Hostname,
        asker: &Holder,
        network: &Network,
        now: Time,
    ) -> Result<Option<NewHost>, ExtendedError> {
        let Some(peer) = network.host(host) else {
            let new_host = self.limiter.new_host(asker.source, now);
            let refused = || self.limiter.refuse_new_host(asker.source).to_owned();
            return new_host
                .map(Some)
                .ok_or_else(|| ExtendedError::other(refused()));
        };
        // While a lease runs, nobody else gets it.
        let changes = peer.holder != *asker && !peer.lease.is_running(now, network.rules().lease);
        match changes {
            true => self.may_change(zone, host, asker, now).map(|()| None),
            false => Ok(None),
        }
    }

    /// Whether the host may have another holder, or leave.
    pub fn may_change(
        &self,
        zone: usize,
        host: &Hostname,
        asker: &Holder,
        now: Time,
    ) -> Result<(), ExtendedError> {
        match self.limiter.may_change(zone, host, now) {
            true => Ok(()),
            false => {
                let text = self.limiter.refuse_change(asker.source).to_owned();
                Err(ExtendedError::other(text))
            }
        }
    }

    /// What was admitted as a new host was none.
    pub fn give_back(&self, new_host: NewHost) {
        self.limiter.give_back(new_host);
    }
}
