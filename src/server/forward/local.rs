//! Locally served names outside all zones, which should not be forwarded (RFC 6303,
//! RFC 6761).
//!
//! Names of this machine are never forwarded. Reverse names of private networks are
//! forwarded if there are upstreams, since the resolver of a site may serve them.
//! Without upstreams the answer is NXDOMAIN. A refusal would delay every client that
//! looks up the other end of a connection: musl's resolver ignores a refusal, and waits
//! for five seconds.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, NS, PTR, SOA},
    },
};

use crate::zone::Answer;

/// How long answers may be cached, in seconds (RFC 6303, section 3).
const TTL: u32 = 10_800;

/// The name of this machine (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost.";

/// The reverse zone of 127.0.0.0/8, and the one name in it.
const LOOPBACK: &str = "127.in-addr.arpa.";
const LOOPBACK_ADDRESS: &str = "1.0.0.127.in-addr.arpa.";

/// The reverse name of ::1, which is a zone (RFC 6303, section 4.3).
const LOOPBACK_ADDRESS_V6: &str =
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

/// Names that do not exist (RFC 6761, section 6.4), and names that are not in the DNS
/// (RFC 7686, section 2).
const NONEXISTENT: [&str; 2] = ["invalid.", "onion."];

/// Reverse zones of private networks (RFC 1918, RFC 4193, RFC 6598), link-local
/// networks, networks for documentation, and unspecified addresses: RFC 6303, sections
/// 4.1 to 4.6, and RFC 7793. Those of 172.16.0.0/12 and 100.64.0.0/10 are added below.
const PRIVATE: [&str; 15] = [
    "10.in-addr.arpa.",
    "168.192.in-addr.arpa.",
    "0.in-addr.arpa.",
    "254.169.in-addr.arpa.",
    "2.0.192.in-addr.arpa.",
    "100.51.198.in-addr.arpa.",
    "113.0.203.in-addr.arpa.",
    "255.255.255.255.in-addr.arpa.",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
    "d.f.ip6.arpa.",
    "8.e.f.ip6.arpa.",
    "9.e.f.ip6.arpa.",
    "a.e.f.ip6.arpa.",
    "b.e.f.ip6.arpa.",
    "8.b.d.0.1.0.0.2.ip6.arpa.",
];

/// The zones that are always served locally.
static LOCAL: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let local = [LOCALHOST, LOOPBACK, LOOPBACK_ADDRESS_V6];
    local.into_iter().chain(NONEXISTENT).map(name).collect()
});

/// The zones that are served locally if there are no upstreams.
static WITHOUT_UPSTREAMS: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let sixteen = (16..32).map(|second| format!("{second}.172.in-addr.arpa."));
    let shared = (64..128).map(|second| format!("{second}.100.in-addr.arpa."));
    let ranges = sixteen.chain(shared).map(|text| name(&text));
    PRIVATE.into_iter().map(name).chain(ranges).collect()
});

/// Answers a query for a locally served name; `None` for any other name.
pub fn answer(owner: &Name, rtype: RecordType, has_upstreams: bool) -> Option<Answer> {
    let others = WITHOUT_UPSTREAMS.iter().filter(|_| !has_upstreams);
    let zone = LOCAL
        .iter()
        .chain(others)
        .find(|zone| zone.zone_of(owner))?;
    let Some(mut data) = data(zone, owner) else {
        return Some(negative(ResponseCode::NXDomain, zone));
    };
    data.retain(|data| rtype == RecordType::ANY || data.record_type() == rtype);
    if data.is_empty() {
        return Some(negative(ResponseCode::NoError, zone));
    }
    let record = |data| Record::from_rdata(owner.clone(), TTL, data);
    Some(Answer {
        answers: data.into_iter().map(record).collect(),
        ..Answer::empty(ResponseCode::NoError)
    })
}

/// The record data at a name in the zone; empty for an empty non-terminal, `None` for a
/// name that does not exist.
fn data(zone: &Name, owner: &Name) -> Option<Vec<RData>> {
    let localhost = name(LOCALHOST);
    let is_above = owner.zone_of(&name(LOOPBACK_ADDRESS));
    if zone != owner && *zone != localhost && !is_above {
        return None;
    }
    let mut data = Vec::new();
    if zone == owner {
        data.push(RData::SOA(soa(zone)));
        data.push(RData::NS(NS(zone.clone())));
    }
    if *zone == localhost {
        data.push(RData::A(A(Ipv4Addr::LOCALHOST)));
        data.push(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
    }
    let with_names = [LOOPBACK_ADDRESS, LOOPBACK_ADDRESS_V6].map(name);
    if with_names.contains(owner) {
        data.push(RData::PTR(PTR(localhost)));
    }
    Some(data)
}

fn negative(code: ResponseCode, zone: &Name) -> Answer {
    Answer {
        authority: vec![Record::from_rdata(zone.clone(), TTL, RData::SOA(soa(zone)))],
        ..Answer::empty(code)
    }
}

/// The SOA record of RFC 6303, section 3.
fn soa(zone: &Name) -> SOA {
    let nobody = name("nobody.invalid.");
    SOA::new(zone.clone(), nobody, 1, 3_600, 1_200, 604_800, TTL)
}

/// Parses a name that is a constant.
fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_is_a_zone() {
        let zones = LOCAL.iter().chain(WITHOUT_UPSTREAMS.iter());
        for zone in zones {
            assert!(!zone.is_root() && zone.is_fqdn(), "{zone}");
            for rtype in [RecordType::SOA, RecordType::NS, RecordType::ANY] {
                let answer = answer(zone, rtype, false).unwrap();
                assert_eq!(answer.code, ResponseCode::NoError, "{zone}");
                assert!(!answer.answers.is_empty(), "{zone}");
            }
        }
        assert_eq!(WITHOUT_UPSTREAMS.len(), PRIVATE.len() + 16 + 64);
    }
}
