//! Rate limits: responses to unverified sources (response rate limiting), new
//! hosts of one source, and changes of one host.

use std::{hash::Hash, io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use tracing::info;

use super::{
    rate::{Rate, Token},
    source::Source,
    tally::Tally,
};
use crate::{
    network::{Hostname, Time},
    server::{
        config::{limits::Limits, secret},
        extended_error::ExtendedError,
    },
    text::counted,
};

/// The burst of responses to a network, in seconds of its rate.
const BURST_SECONDS: u32 = 5;

/// The interval at which limits that took effect are logged.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What response rate limiting does with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// Sends an empty truncated response, so that a genuine client repeats its query
    /// by TCP.
    Truncate,
    Drop,
}

/// The rate limits with their current use. Nothing of this survives a restart.
pub struct Limiter {
    /// By network.
    responses: Limit,
    slip: u64,
    /// By source.
    new_hosts: Limit,
    /// By host.
    changes: Limit,
}

/// A rate limit, and what it has refused since the last report.
struct Limit {
    /// `None` for no limit.
    rate: Option<Rate>,
    refused: Tally,
    /// The reason given to a client. It is always the same, since scripts log a text when
    /// it changes.
    reason: String,
}

impl Limit {
    fn new(burst: u32, interval: Duration, reason: String) -> io::Result<Self> {
        let rate = match burst {
            0 => None,
            _ => Some(Rate::new(secret::random()?, burst, interval)),
        };
        Ok(Self {
            rate,
            refused: Tally::default(),
            reason,
        })
    }

    /// Takes a token for the key, `None` without a limit. At the limit it counts the
    /// network, and returns how often it has refused since the last report.
    fn take(&self, key: &impl Hash, network: IpNet, now: Time) -> Result<Option<Token>, u64> {
        let Some(rate) = &self.rate else {
            return Ok(None);
        };
        let token = rate.take(key, now);
        token.map(Some).ok_or_else(|| self.refused.add(network))
    }

    fn error(&self) -> ExtendedError {
        ExtendedError::other(self.reason.clone())
    }

    fn report(&self, subject: &str, effect: impl Fn(u64) -> String) {
        if let Some((network, count)) = self.refused.take() {
            let (effect, seconds) = (effect(count), REPORT_INTERVAL.as_secs());
            info!("{subject}: {network} and perhaps others, {effect} in the last {seconds} s");
        }
    }
}

impl Limiter {
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn new(limits: &Limits) -> io::Result<Self> {
        let per_second = limits.responses_per_second;
        let burst = per_second.saturating_mul(BURST_SECONDS);
        let interval = Duration::from_secs(1) / per_second.max(1);
        let new_host_reason = format!(
            "too many new hosts from your address: it may register one more every {}",
            humantime::format_duration(limits.new_host_every)
        );
        let change_reason = format!(
            "the host has changed its holder or left too often: it may do so once every {}",
            humantime::format_duration(limits.change_every)
        );
        let new_hosts = limits.new_hosts_per_source;
        Ok(Self {
            responses: Limit::new(burst, interval, String::new())?,
            slip: u64::from(limits.slip),
            new_hosts: Limit::new(new_hosts, limits.new_host_every, new_host_reason)?,
            changes: Limit::new(limits.changes_per_host, limits.change_every, change_reason)?,
        })
    }

    /// Decides what to do with the response to a message. Verified sources are not
    /// limited: a response to them cannot reach anybody else.
    pub fn verdict(&self, source: &Source, is_verified: bool, now: Time) -> Verdict {
        if is_verified {
            return Verdict::Send;
        }
        let network = network_of(source.ip);
        match self.responses.take(&network, network, now) {
            Ok(_) => Verdict::Send,
            Err(limited) if self.slip > 0 && limited.is_multiple_of(self.slip) => Verdict::Truncate,
            Err(_) => Verdict::Drop,
        }
    }

    /// Returns a token with which the source registers a new host, `None` without a
    /// limit, or the reason why it may not.
    pub fn new_host(&self, source: IpAddr, now: Time) -> Result<Option<Token>, ExtendedError> {
        let network = network(source, 32, 64);
        let token = self.new_hosts.take(&network, network, now);
        token.map_err(|_| self.new_hosts.error())
    }

    /// Returns whether the host may get another holder or leave at the request of the
    /// source, or the reason why it may not. `zone` is the index of its zone in the
    /// registry. Each change costs a commit or a new serial, and a line in the log.
    pub fn may_change(
        &self,
        zone: usize,
        host: &Hostname,
        source: IpAddr,
        now: Time,
    ) -> Result<(), ExtendedError> {
        // This token is never refunded.
        let token = self
            .changes
            .take(&(zone, host), network(source, 32, 64), now);
        token.map(drop).map_err(|_| self.changes.error())
    }

    /// Refunds a token: the host was not registered, or was not new.
    pub fn refund(&self, new_host: Token) {
        if let Some(rate) = &self.new_hosts.rate {
            rate.refund(new_host);
        }
    }

    /// Logs what was limited since the last report.
    pub fn report(&self) {
        self.responses.report("rate limiting", |count| {
            let responses = counted(count as usize, "response");
            format!("{responses} dropped or truncated")
        });
        let refused = |count| format!("{count} refused");
        self.new_hosts.report("too many new hosts", refused);
        self.changes.report("hosts that change too often", refused);
    }
}

/// The network that an address counts for: the smallest that one customer or one
/// site is usually assigned.
pub fn network_of(address: IpAddr) -> IpNet {
    network(address, 24, 56)
}

/// The network of the address, with a prefix of `v4` or `v6` bits.
fn network(address: IpAddr, v4: u8, v6: u8) -> IpNet {
    let bits = if address.is_ipv4() { v4 } else { v6 };
    IpNet::new(address, bits).map_or(address.into(), |network| network.trunc())
}
