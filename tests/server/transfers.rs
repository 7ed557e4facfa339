//! The messages of a transfer contain the records of the zone, whatever is
//! registered: each once, in order, and the SOA record again at the end.

mod axfr;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, LazyLock},
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{Name, Record},
};
use param_daemon::{
    network::{Holder, Network, PeerId, Role, StoredPeer, Time},
    server::transfer::{Transfer, TransferContent},
    zone::{self, Zone},
};
use proptest::prelude::*;

/// Names in upper case, names that share suffixes, and names in record data.
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
    let shipped = include_str!("../../zones/pbft.toml").replace("n = 4", "n = 400");
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

/// A peer's position in its sequence is its number; a gap is an ID that is pinned
/// to a host that has not registered.
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
        registered.push(StoredPeer {
            host,
            id,
            role: Role(role),
            holder,
            epoch: 3,
        });
    }
    Network::restore(zone.rules.clone(), 7, registered, pins, Time(1)).0
}

/// The records of a transfer, and the number of messages.
fn transferred(transfer: &Transfer, edns: bool) -> Result<(Vec<Record>, usize), TestCaseError> {
    let (mut records, messages) = (Vec::new(), axfr::messages(transfer));
    let count = messages.len();
    for (place, octets) in messages.iter().enumerate() {
        prop_assert!(octets.len() <= 16_384 || place == 0);
        let message = Message::from_vec(octets).unwrap();
        prop_assert_eq!(message.metadata.id, axfr::ID);
        prop_assert_eq!(message.metadata.message_type, MessageType::Response);
        prop_assert!(message.metadata.authoritative);
        prop_assert_eq!(message.queries.len(), usize::from(place == 0));
        prop_assert_eq!(message.edns.is_some(), edns);
        prop_assert!(message.authorities.is_empty() && message.additionals.is_empty());
        prop_assert!(!message.answers.is_empty());
        records.extend(message.answers);
    }
    Ok((records, count))
}

/// Text preserves the case of names, which `==` ignores.
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
            let (found, messages) = transferred(&axfr::asked(zone, &network, TransferContent::Zone, edns), edns)?;
            prop_assert_eq!(texts(&found), texts(&expected));
            // More than one message, or there were too few peers to tell.
            prop_assert!(messages > 1 || peers.len() < 20);

            let now = Time(12_345);
            let mut expected: Vec<_> = zone.status(&network, now).collect();
            expected.push(expected[0].clone());
            let (found, _) = transferred(&axfr::asked(zone, &network, TransferContent::Status(now), edns), edns)?;
            prop_assert_eq!(texts(&found), texts(&expected));
        }
    }
}
