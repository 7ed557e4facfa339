//! The messages of a transfer have the records of the zone, whatever is registered:
//! each once, in their order, and the SOA again at the end.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, Record, RecordType},
};
use hickory_server::{net::xfer::Protocol, server::Request};
use param_daemon::{
    network::{Holder, Network, PeerId, Role, Time},
    server::{
        reply::Terms,
        source::Transport,
        transfer::{Content, Transfer},
    },
    zone::{self, Zone},
};
use proptest::prelude::*;

/// Names in capitals and that share their ends, and names within the data.
const RECORDS: &str = r"
$TTL 60
@          MX    10 Members
Members    A     192.0.2.7
           AAAA  2001:db8::7
           TXT   one two three
ca.Members CNAME members
_x._udp    SRV   1 2 3 elsewhere.example.
";

static ZONES: LazyLock<Vec<Arc<Zone>>> = LazyLock::new(|| {
    let shipped = include_str!("../zones/pbft.toml").replace("n = 4", "n = 400");
    let further = shipped.replace("# records =", "records =");
    let long = "x".repeat(600);
    let other = further.replace("pbft.fabric", "other.fabric").replace(
        "[environment]",
        &format!("[environment]\nLONG = \"{long}\""),
    );
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("pbft.toml", &*further),
        ("other.toml", &other),
        ("pbft.zone", RECORDS),
    ] {
        fs::write(directory.path().join(file), text).unwrap();
    }
    let zones = zone::read_directory(directory.path()).unwrap();
    zones.into_iter().map(Arc::new).collect()
});

/// A peer's place among those of its sequence is its number; where it is skipped,
/// an ID is kept for a host that has not come yet.
fn network(zone: &Zone, peers: &[(u16, bool, bool)]) -> Network {
    let (mut registered, mut pins) = (Vec::new(), Vec::new());
    for (place, &(role, is_v6, is_skipped)) in peers.iter().enumerate() {
        let sequence = zone.rules.role(Role(role)).sequence;
        let id = PeerId {
            sequence,
            number: place as u32,
        };
        let host = format!("Host_{place}").parse().unwrap();
        if is_skipped {
            pins.push((host, id));
            continue;
        }
        let place = place as u16;
        let address: IpAddr = match is_v6 {
            true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0xabcd, 0xabcd, 0xabcd, place).into(),
            false => Ipv4Addr::from(0x0a00_0000 + u32::from(place)).into(),
        };
        let holder = Holder {
            source: address,
            address,
        };
        registered.push((host, id, Role(role), holder));
    }
    Network::restore(zone.rules.clone(), 7, registered, pins, Time(1)).unwrap()
}

/// The records of a transfer, and how many messages they came in.
fn transferred(transfer: &Transfer, edns: bool) -> Result<(Vec<Record>, usize), TestCaseError> {
    let (mut octets, mut records, mut count) = (Vec::new(), Vec::new(), 0);
    let made = transfer.make(|part| {
        octets.extend(part);
        Some(())
    });
    prop_assert!(made.is_some());
    let mut rest = &octets[..];
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        rest = behind;
        prop_assert!(message.len() <= 16_384 || count == 0);
        let message = Message::from_vec(message).unwrap();
        prop_assert_eq!(message.metadata.id, 4711);
        prop_assert_eq!(message.metadata.message_type, MessageType::Response);
        prop_assert!(message.metadata.authoritative);
        prop_assert_eq!(message.queries.len(), usize::from(count == 0));
        prop_assert_eq!(message.edns.is_some(), edns);
        prop_assert!(message.authorities.is_empty() && message.additionals.is_empty());
        prop_assert!(!message.answers.is_empty());
        records.extend(message.answers);
        count += 1;
    }
    Ok((records, count))
}

fn transfer(zone: &Arc<Zone>, network: &Arc<Network>, content: Content, edns: bool) -> Transfer {
    let origin = match content {
        Content::Zone => zone.origin.clone(),
        Content::Status(_) => zone::status_of(&zone.origin).unwrap(),
    };
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.queries = vec![Query::query(origin, RecordType::AXFR)];
    query.edns = edns.then(Edns::new);
    let client = SocketAddr::from(([127, 0, 0, 1], 1053));
    let request = Request::from_bytes(query.to_vec().unwrap(), client, Protocol::Tcp).unwrap();
    Transfer {
        request,
        terms: Terms {
            transport: Transport::Tcp,
            recursive: false,
            by_address: false,
            cookie: None,
            nsid: None,
            signature: None,
        },
        zone: zone.clone(),
        network: network.clone(),
        content,
    }
}

/// Text tells of names in which case they are spelt, as `==` does not.
fn texts(records: &[Record]) -> Vec<String> {
    let spelt = |name: &Name| name.to_ascii();
    records
        .iter()
        .map(|record| format!("{} {record:?}", spelt(&record.name)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_has_the_records_of_the_zone(
        peers in prop::collection::vec((0u16..3, any::<bool>(), prop::bool::weighted(0.1)), 0..150),
        edns in any::<bool>(),
    ) {
        for zone in &*ZONES {
            let network = Arc::new(network(zone, &peers));
            let mut expected: Vec<_> = zone.content(&network).collect();
            expected.push(expected[0].clone());
            let (found, messages) = transferred(&transfer(zone, &network, Content::Zone, edns), edns)?;
            prop_assert_eq!(texts(&found), texts(&expected));
            // More than one message, or that was not tried.
            prop_assert!(messages > 1 || peers.len() < 20);

            let now = Time(12_345);
            let mut expected: Vec<_> = zone.status(&network, now).collect();
            expected.push(expected[0].clone());
            let (found, _) = transferred(&transfer(zone, &network, Content::Status(now), edns), edns)?;
            prop_assert_eq!(texts(&found), texts(&expected));
        }
    }
}
