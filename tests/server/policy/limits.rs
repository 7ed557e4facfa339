//! Rate limits by network, by source, and none.

use std::{net::SocketAddr, time::Duration};

use param_daemon::{
    network::Time,
    server::{
        config::limits::Limits,
        policy::{
            limits::{Limiter, Verdict},
            source::{Source, Transport},
        },
    },
};

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
            let verdict = limiter.verdict(&from("10.0.0.1"), false, Time(1));
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
        |address: &str, is_verified| limiter.verdict(&from(address), is_verified, Time(1));
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
        let reason = new_host(same, 1).unwrap_err().text;
        assert!(reason.ends_with("one more every 1m"), "{reason}");
        assert!(new_host(other, 1).is_ok());
        limiter.refund(refunded.unwrap());
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
        let verdict = limiter.verdict(&from("10.0.0.1"), false, Time(1));
        assert_eq!(verdict, Verdict::Send);
        let permit = limiter.new_host([10, 0, 0, 1].into(), Time(1)).unwrap();
        assert!(permit.is_none());
    }
}
