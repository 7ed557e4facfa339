//! Rate limits: responses to unverified sources (response rate limiting), new
//! hosts of one source, and changes of one host.

use std::{io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use tracing::info;

use super::{
    rate::{Rate, Token},
    source::Source,
    tally::Tally,
};
use crate::{
    network::{Hostname, Time},
    server::config::{limits::Limits, secret},
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
    /// By network; `None` for no limit.
    responses: Option<Rate>,
    slip: u64,
    limited_responses: Tally,
    /// By source; `None` for no limit.
    new_hosts: Option<Rate>,
    refused_hosts: Tally,
    /// The reason given to a source that registers too many new hosts.
    new_host_refusal: String,
    /// By host; `None` for no limit.
    changes: Option<Rate>,
    refused_changes: Tally,
    /// The reason given to a host that changes too often.
    change_refusal: String,
}

impl Limiter {
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn new(limits: &Limits) -> io::Result<Self> {
        let rate = |burst: u32, interval: Duration| match burst {
            0 => Ok(None),
            _ => secret::random().map(|secret| Some(Rate::new(secret, burst, interval))),
        };
        let per_second = limits.responses_per_second;
        let new_host_every = limits.new_host_every;
        Ok(Self {
            responses: rate(
                per_second.saturating_mul(BURST_SECONDS),
                Duration::from_secs(1) / per_second.max(1),
            )?,
            slip: u64::from(limits.slip),
            limited_responses: Tally::default(),
            new_hosts: rate(limits.new_hosts_per_source, new_host_every)?,
            refused_hosts: Tally::default(),
            // The text is always the same, since scripts log a text when it changes.
            new_host_refusal: format!(
                "too many new hosts from your address: it may register one more every {}",
                humantime::format_duration(new_host_every)
            ),
            changes: rate(limits.changes_per_host, limits.change_every)?,
            refused_changes: Tally::default(),
            change_refusal: format!(
                "the host has changed its holder or left too often: it may do so once every {}",
                humantime::format_duration(limits.change_every)
            ),
        })
    }

    /// Decides what to do with the response to a message. Verified sources are not
    /// limited: a response to them cannot reach anybody else.
    pub fn verdict(&self, source: Source, is_verified: bool, now: Time) -> Verdict {
        let Some(responses) = self.responses.as_ref().filter(|_| !is_verified) else {
            return Verdict::Send;
        };
        let network = network_of(source.ip);
        if responses.take(&network, now).is_some() {
            return Verdict::Send;
        }
        let limited = self.limited_responses.add(network);
        if self.slip > 0 && limited.is_multiple_of(self.slip) {
            Verdict::Truncate
        } else {
            Verdict::Drop
        }
    }

    /// Returns a permit for the source to register a new host, or the reason why it may
    /// not.
    pub fn new_host(&self, source: IpAddr, now: Time) -> Result<NewHostPermit, &str> {
        let Some(new_hosts) = &self.new_hosts else {
            return Ok(NewHostPermit(None));
        };
        let network = network(source, 32, 64);
        let token = new_hosts.take(&network, now).ok_or_else(|| {
            self.refused_hosts.add(network);
            self.new_host_refusal.as_str()
        })?;
        Ok(NewHostPermit(Some(token)))
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
    ) -> Result<(), &str> {
        // This token is never refunded.
        if let Some(changes) = &self.changes
            && changes.take(&(zone, host), now).is_none()
        {
            self.refused_changes.add(network(source, 32, 64));
            return Err(&self.change_refusal);
        }
        Ok(())
    }

    /// Refunds a permit: the host was not registered, or was not new.
    pub fn refund(&self, new_host: NewHostPermit) {
        if let Some((new_hosts, token)) = self.new_hosts.as_ref().zip(new_host.0) {
            new_hosts.refund(token);
        }
    }

    /// Logs what was limited since the last report.
    pub fn report(&self) {
        let seconds = REPORT_INTERVAL.as_secs();
        if let Some((network, count)) = self.limited_responses.take() {
            let responses = counted(count as usize, "response");
            info!(
                "rate limiting: {network} and perhaps others, {responses} dropped or truncated in \
                 the last {seconds} s"
            );
        }
        if let Some((network, count)) = self.refused_hosts.take() {
            info!(
                "too many new hosts: {network} and perhaps others, {count} refused in the \
                 last {seconds} s"
            );
        }
        if let Some((network, count)) = self.refused_changes.take() {
            info!(
                "hosts that change too often: {network} and perhaps others, {count} refused in \
                 the last {seconds} s"
            );
        }
    }
}

/// A permit for a source to register a new host.
#[derive(Debug)]
#[must_use]
pub struct NewHostPermit(Option<Token>);

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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::server::policy::source::Transport;

    fn limiter(limits: Limits) -> Limiter {
        Limiter::new(&limits).unwrap()
    }

    fn from(address: &str) -> Source {
        let address = SocketAddr::new(address.parse().unwrap(), 53);
        Source::new(address, Transport::Udp, address.ip())
    }

    #[test]
    fn above_the_rate_one_in_slip_answers_is_sent_truncated() {
        for (slip, truncated) in [(0, 0), (1, 600), (2, 300), (3, 200), (10, 60)] {
            let limiter = limiter(Limits {
                responses_per_second: 20,
                slip,
                ..Limits::default()
            });
            let mut verdicts = [0; 3];
            for _ in 0..700 {
                let verdict = limiter.verdict(from("10.0.0.1"), false, Time(1));
                verdicts[verdict as usize] += 1;
            }
            assert_eq!(verdicts, [100, truncated, 600 - truncated], "slip {slip}");
        }
    }

    #[test]
    fn a_network_shares_one_limit_and_verified_sources_have_none() {
        let limiter = limiter(Limits {
            responses_per_second: 1,
            slip: 0,
            ..Limits::default()
        });
        let verdict =
            |address: &str, is_verified| limiter.verdict(from(address), is_verified, Time(1));
        for (inside, outside) in [
            ("10.0.0", "10.0.1.0"),
            ("2001:db8:0:0:", "2001:db8:0:100::"),
        ] {
            let colon = inside.contains(':');
            let address = |host: u32| {
                if colon {
                    format!("{inside}:{host:x}")
                } else {
                    format!("{inside}.{host}")
                }
            };
            for host in 1..=5 {
                assert_eq!(verdict(&address(host), false), Verdict::Send);
            }
            assert_eq!(verdict(&address(6), false), Verdict::Drop);
            assert_eq!(verdict(&address(6), true), Verdict::Send);
            assert_eq!(verdict(outside, false), Verdict::Send);
        }
        // The same network, as a dual-stack socket shows it.
        assert_eq!(verdict("::ffff:10.0.0.7", false), Verdict::Drop);
    }

    #[test]
    fn new_hosts_are_limited_by_address_or_by_64_bits_of_one() {
        let limiter = limiter(Limits {
            new_hosts_per_source: 2,
            new_host_every: Duration::from_secs(60),
            ..Limits::default()
        });
        let new_host = |address: &str, now| limiter.new_host(address.parse().unwrap(), Time(now));
        for (address, same, other) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("fd00::1", "fd00::2", "fd00:0:0:1::1"),
        ] {
            let refunded = new_host(address, 1).unwrap();
            let _used = new_host(address, 1).unwrap();
            let reason = new_host(same, 1).unwrap_err();
            assert!(reason.ends_with("one more every 1m"), "{reason}");
            assert!(new_host(other, 1).is_ok());
            limiter.refund(refunded);
            assert!(new_host(same, 1).is_ok());
            assert!(new_host(same, 60_000).is_err());
            assert!(new_host(same, 60_001).is_ok());
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = limiter(Limits {
            responses_per_second: 0,
            new_hosts_per_source: 0,
            ..Limits::default()
        });
        for _ in 0..100_000 {
            let verdict = limiter.verdict(from("10.0.0.1"), false, Time(1));
            assert_eq!(verdict, Verdict::Send);
            let permit = limiter.new_host([10, 0, 0, 1].into(), Time(1)).unwrap();
            limiter.refund(permit);
        }
    }
}
