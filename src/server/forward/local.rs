//! Names outside all zones that are answered here, since no upstream should be
//! asked for them (RFC 6303, RFC 6761), with the types that exist and no others.
//!
//! Names of this machine never go anywhere. Reverse names of private networks are
//! for the upstreams, if there are any: a site's resolver may serve them. Without
//! upstreams they are answered at once, that there is no such name. To refuse them
//! would keep every client waiting that looks up the other end of a connection:
//! musl's resolver takes no notice of a refusal, and waits for five seconds.

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

/// How long answers may be kept, in seconds (RFC 6303, section 3).
const TTL: u32 = 10_800;

/// The name of this machine (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost.";

/// The reverse zone of 127.0.0.0/8, and the one name in it.
const LOOPBACK: &str = "127.in-addr.arpa.";
const LOOPBACK_ADDRESS: &str = "1.0.0.127.in-addr.arpa.";

/// The reverse name of ::1, which is a zone (RFC 6303, section 4.3).
const LOOPBACK_ADDRESS_V6: &str =
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

/// What is nowhere (RFC 6761, section 6.4), and what is not in the DNS (RFC 7686,
/// section 2).
const NOWHERE: [&str; 2] = ["invalid.", "onion."];

/// Reverse zones of private networks (RFC 1918, RFC 4193, RFC 6598), link-local
/// networks, and those that are for documentation or stand for nothing: RFC 6303,
/// sections 4.1 to 4.6, and RFC 7793. Those of 172.16.0.0/12 and 100.64.0.0/10 are
/// below.
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

/// The zones that are answered here always.
static OWN: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let own = [LOCALHOST, LOOPBACK, LOOPBACK_ADDRESS_V6];
    own.into_iter().chain(NOWHERE).map(name).collect()
});

/// Those that are answered here where there is no upstream.
static WITHOUT_UPSTREAMS: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let sixteen = (16..32).map(|second| format!("{second}.172.in-addr.arpa."));
    let shared = (64..128).map(|second| format!("{second}.100.in-addr.arpa."));
    let ranges = sixteen.chain(shared).map(|text| name(&text));
    PRIVATE.into_iter().map(name).chain(ranges).collect()
});

/// The answer to a question that is for no upstream; `None` for one that is.
pub fn answer(owner: &Name, rtype: RecordType, has_upstreams: bool) -> Option<Answer> {
    let holds = |zone: &&Name| zone.zone_of(owner);
    let mut zone = OWN.iter().find(holds);
    if zone.is_none() && !has_upstreams {
        zone = WITHOUT_UPSTREAMS.iter().find(holds);
    }
    let zone = zone?;
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

/// What is at a name of that zone, none if there are only names below it, or
/// `None` if there is no such name.
fn data(zone: &Name, owner: &Name) -> Option<Vec<RData>> {
    let localhost = name(LOCALHOST);
    let mut data = Vec::new();
    let has_addresses = *zone == localhost;
    let has_name = [LOOPBACK_ADDRESS, LOOPBACK_ADDRESS_V6]
        .map(name)
        .contains(owner);
    let is_above = owner.zone_of(&name(LOOPBACK_ADDRESS));
    if zone == owner {
        data.push(RData::SOA(soa(zone)));
        data.push(RData::NS(NS(zone.clone())));
    } else if !has_addresses && !is_above {
        return None;
    }
    if has_addresses {
        data.push(RData::A(A(Ipv4Addr::LOCALHOST)));
        data.push(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
    }
    if has_name {
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

/// As RFC 6303, section 3, has it.
fn soa(zone: &Name) -> SOA {
    let nobody = name("nobody.invalid.");
    SOA::new(zone.clone(), nobody, 1, 3_600, 1_200, 604_800, TTL)
}

/// A name that is written here.
fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_one() {
        let zones = OWN.iter().chain(WITHOUT_UPSTREAMS.iter());
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
