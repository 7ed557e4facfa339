//! How much one source may ask for: answers that may go to somebody else, and
//! new hosts.

use std::{io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use tracing::info;

use super::{
    rate::{Rate, Taken},
    secrets,
    source::Source,
    tally::Tally,
    transfer::TransferLimits,
};
use crate::{
    network::{Hostname, Time},
    settings::{self, Table},
};

/// How many seconds' worth of answers may go to a network at once.
const BURST_SECONDS: u32 = 5;

/// How often the log says what was limited, if anything was.
pub const REPORTS: Duration = Duration::from_secs(10);

/// What the configuration allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Answers a second to the sources of one network that are not proven; 0 for
    /// no limit.
    pub responses_per_second: u32,
    /// Which of the answers above that are sent truncated: every one, every
    /// second, ...; 0 for none.
    pub slip: u32,
    /// How many new hosts one source may register at once; 0 for no limit.
    pub new_hosts_per_source: u32,
    /// How long it takes until it may register one more.
    pub new_host_every: Duration,
    /// How often a host may change its holder, or leave, at once; 0 for no limit.
    pub changes_per_host: u32,
    /// How long it takes until it may do so once more.
    pub change_every: Duration,
    pub transfers: TransferLimits,
}

impl Default for Allowed {
    /// Far more than 1,000 peers behind one address ask for.
    fn default() -> Self {
        Self {
            responses_per_second: 1_000,
            slip: 2,
            new_hosts_per_source: 16_384,
            new_host_every: Duration::from_secs(1),
            changes_per_host: 32,
            change_every: Duration::from_secs(5),
            transfers: TransferLimits::default(),
        }
    }
}

impl Allowed {
    /// Reads the table `[limits]`.
    pub fn take(table: &mut Table<'_>, source: &mut settings::Document<'_>) -> Self {
        let default = Self::default();
        let mut number = |key, most: u64, default| {
            let number = table.number(key, 0..most + 1, source);
            number.map_or(default, settings::Spanned::into_inner)
        };
        let responses_per_second = number(
            "responses_per_second",
            1_000_000,
            default.responses_per_second,
        );
        let slip = number("slip", 10, default.slip);
        let new_hosts_per_source = number(
            "new_hosts_per_source",
            1_000_000,
            default.new_hosts_per_source,
        );
        let changes_per_host = number("changes_per_host", 1_000_000, default.changes_per_host);
        let every = table.duration("new_host_every", 1..86_401, source);
        let change_every = table.duration("change_every", 1..86_401, source);
        let mut transfers = default.transfers;
        transfers.take(table, source);
        table.finish(source);
        Self {
            responses_per_second,
            slip,
            new_hosts_per_source,
            new_host_every: every.unwrap_or(default.new_host_every),
            changes_per_host,
            change_every: change_every.unwrap_or(default.change_every),
            transfers,
        }
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// Only that it is truncated, so that who really asked asks again by TCP.
    Truncate,
    Drop,
}

/// What the sources have taken of what they are allowed. A restart forgets it.
pub struct Limits {
    /// By network; `None` for no limit.
    responses: Option<Rate>,
    slip: u64,
    withheld: Tally,
    /// By source; `None` for no limit.
    new_hosts: Option<Rate>,
    refused: Tally,
    /// Why a new host is refused.
    too_many: String,
    /// By host; `None` for no limit.
    changes: Option<Rate>,
    unchanged: Tally,
    /// Why a host is refused that changes too often.
    too_often: String,
}

impl Limits {
    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub fn new(allowed: &Allowed) -> io::Result<Self> {
        let rate = |burst: u32, each: Duration| match burst {
            0 => Ok(None),
            _ => secrets::random().map(|secret| Some(Rate::new(secret, burst, each))),
        };
        let per_second = allowed.responses_per_second;
        let every = allowed.new_host_every;
        Ok(Self {
            responses: rate(
                per_second.saturating_mul(BURST_SECONDS),
                Duration::from_secs(1) / per_second.max(1),
            )?,
            slip: u64::from(allowed.slip),
            withheld: Tally::default(),
            new_hosts: rate(allowed.new_hosts_per_source, every)?,
            refused: Tally::default(),
            // The same words each time, since scripts log what is new.
            too_many: format!(
                "too many new hosts from your address: it may register one more every {}",
                humantime::format_duration(every)
            ),
            changes: rate(allowed.changes_per_host, allowed.change_every)?,
            unchanged: Tally::default(),
            too_often: format!(
                "the host has changed its holder or left too often: it may once every {}",
                humantime::format_duration(allowed.change_every)
            ),
        })
    }

    /// What becomes of the answer to a message. Whoever is `proven` is answered:
    /// nobody else can be made to receive that.
    pub fn verdict(&self, source: Source, proven: bool, now: Time) -> Verdict {
        let Some(responses) = self.responses.as_ref().filter(|_| !proven) else {
            return Verdict::Send;
        };
        let network = network_of(source.ip);
        if responses.take(&network, now).is_some() {
            return Verdict::Send;
        }
        let withheld = self.withheld.add(network);
        match self.slip > 0 && withheld.is_multiple_of(self.slip) {
            true => Verdict::Truncate,
            false => Verdict::Drop,
        }
    }

    /// Lets the source register a new host, if it may.
    pub fn new_host(&self, source: IpAddr, now: Time) -> Option<NewHost> {
        match &self.new_hosts {
            Some(new_hosts) => {
                let taken = new_hosts.take(&network(source, 32, 64), now)?;
                Some(NewHost(Some(taken)))
            }
            None => Some(NewHost(None)),
        }
    }

    /// Counts a source that may not, and says why.
    pub fn refuse_new_host(&self, source: IpAddr) -> &str {
        self.refused.add(network(source, 32, 64));
        &self.too_many
    }

    /// Whether a host of the zone at that place may have another holder, or leave.
    /// Each time is a commit, or a new serial, and a line in the log.
    pub fn may_change(&self, place: usize, host: &Hostname, now: Time) -> bool {
        let Some(changes) = &self.changes else {
            return true;
        };
        // What is taken is not given back.
        changes.take(&(place, host), now).is_some()
    }

    /// Counts the source of a host that may not, and says why.
    pub fn refuse_change(&self, source: IpAddr) -> &str {
        self.unchanged.add(network(source, 32, 64));
        &self.too_often
    }

    /// The host was not registered, or no longer new.
    pub fn give_back(&self, new_host: NewHost) {
        if let Some((new_hosts, taken)) = self.new_hosts.as_ref().zip(new_host.0) {
            new_hosts.give_back(taken);
        }
    }

    /// Tells the log what was limited since it was told last.
    pub fn report(&self) {
        let seconds = REPORTS.as_secs();
        if let Some((network, count)) = self.withheld.take() {
            info!(
                "rate limiting: {network} and perhaps others, {count} replies dropped or \
                 truncated in the last {seconds} s"
            );
        }
        if let Some((network, count)) = self.refused.take() {
            info!(
                "too many new hosts: {network} and perhaps others, {count} refused in the \
                 last {seconds} s"
            );
        }
        if let Some((network, count)) = self.unchanged.take() {
            info!(
                "hosts that change too often: {network} and perhaps others, {count} refused in \
                 the last {seconds} s"
            );
        }
    }
}

/// That a source may register a new host.
#[derive(Debug)]
#[must_use]
pub struct NewHost(Option<Taken>);

/// The network that an address counts for: what one customer or one site is given
/// at the least.
pub fn network_of(address: IpAddr) -> IpNet {
    network(address, 24, 56)
}

/// The network that the address is in, with that many bits.
fn network(address: IpAddr, v4: u8, v6: u8) -> IpNet {
    let bits = if address.is_ipv4() { v4 } else { v6 };
    IpNet::new(address, bits).map_or(address.into(), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::server::source::Transport;

    fn limits(allowed: Allowed) -> Limits {
        Limits::new(&allowed).unwrap()
    }

    fn from(address: &str) -> Source {
        let address = SocketAddr::new(address.parse().unwrap(), 53);
        Source::new(address, Transport::Udp, address.ip())
    }

    #[test]
    fn above_the_rate_one_in_slip_answers_is_sent_truncated() {
        for (slip, truncated) in [(0, 0), (1, 600), (2, 300), (3, 200), (10, 60)] {
            let limits = limits(Allowed {
                responses_per_second: 20,
                slip,
                ..Allowed::default()
            });
            let mut verdicts = [0; 3];
            for _ in 0..700 {
                let verdict = limits.verdict(from("10.0.0.1"), false, Time(1));
                verdicts[verdict as usize] += 1;
            }
            assert_eq!(verdicts, [100, truncated, 600 - truncated], "slip {slip}");
        }
    }

    #[test]
    fn a_network_is_limited_as_one_and_who_is_proven_is_not() {
        let limits = limits(Allowed {
            responses_per_second: 1,
            slip: 0,
            ..Allowed::default()
        });
        let verdict = |address: &str, proven| limits.verdict(from(address), proven, Time(1));
        for (inside, outside) in [
            ("10.0.0", "10.0.1.0"),
            ("2001:db8:0:0:", "2001:db8:0:100::"),
        ] {
            let colon = inside.contains(':');
            let address = |host: u32| match colon {
                true => format!("{inside}:{host:x}"),
                false => format!("{inside}.{host}"),
            };
            for host in 1..=5 {
                assert_eq!(verdict(&address(host), false), Verdict::Send);
            }
            assert_eq!(verdict(&address(6), false), Verdict::Drop);
            assert_eq!(verdict(&address(6), true), Verdict::Send);
            assert_eq!(verdict(outside, false), Verdict::Send);
        }
        // The same network, as a socket for both families shows it.
        assert_eq!(verdict("::ffff:10.0.0.7", false), Verdict::Drop);
    }

    #[test]
    fn new_hosts_are_limited_by_address_or_by_64_bits_of_one() {
        let limits = limits(Allowed {
            new_hosts_per_source: 2,
            new_host_every: Duration::from_secs(60),
            ..Allowed::default()
        });
        let new_host = |address: &str, now| limits.new_host(address.parse().unwrap(), Time(now));
        for (address, same, other) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("fd00::1", "fd00::2", "fd00:0:0:1::1"),
        ] {
            let back = new_host(address, 1).unwrap();
            let _kept = new_host(address, 1).unwrap();
            assert!(new_host(same, 1).is_none());
            let why = limits.refuse_new_host(same.parse().unwrap());
            assert!(why.ends_with("one more every 1m"), "{why}");
            assert!(new_host(other, 1).is_some());
            limits.give_back(back);
            assert!(new_host(same, 1).is_some());
            assert!(new_host(same, 60_000).is_none());
            assert!(new_host(same, 60_001).is_some());
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = limits(Allowed {
            responses_per_second: 0,
            new_hosts_per_source: 0,
            ..Allowed::default()
        });
        for _ in 0..100_000 {
            let verdict = limits.verdict(from("10.0.0.1"), false, Time(1));
            assert_eq!(verdict, Verdict::Send);
            let taken = limits.new_host([10, 0, 0, 1].into(), Time(1)).unwrap();
            limits.give_back(taken);
        }
    }
}
