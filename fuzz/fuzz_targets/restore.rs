//! Any octets as a JSON dump. What is accepted is written and read back the same,
//! and the network that it makes keeps the law.

#![no_main]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use libfuzzer_sys::fuzz_target;
use param_daemon::{
    clock::Clock,
    commands::restore,
    registry,
    store::{
        Registration, Store,
        dumps::{Dump, Head, MissingChecksum},
    },
    zone::{self, Zone},
};
use param_daemon_fuzz::service::Memory;

fuzz_target!(|octets: &[u8]| {
    let _ = Head::read(octets);
    let Ok(mut dump) = restore::parse(octets, "the dump") else {
        return;
    };
    // The version that is written, whichever was read.
    dump.head.version = Head::now(String::new(), 0).version;
    let mut written = Vec::new();
    dump.write(&mut written).expect("a dump can be written");
    let again = Dump::read(&written, MissingChecksum::Reject).expect("what was written is right");
    assert_eq!(again, dump);
    assert_eq!(Head::read(&written[..]).expect("it has a head"), dump.head);

    let mut store = Memory::default();
    let contents = restore::contents(dump.clone());
    let writes = contents.writes(&dump.head.origin);
    store.commit(&writes).expect("memory takes all");
    let contents = store.load(&dump.head.origin).expect("memory gives all");
    assert!(contents.serial > dump.head.serial, "the serial goes on");
    assert_eq!(sorted(&contents.registrations), sorted(&dump.peers));
    assert_eq!(contents.pins.len(), dump.pins.len());

    let zone = zone();
    let Ok(network) = registry::load(&zone, contents, &Clock::start()) else {
        return;
    };
    assert_eq!(network.len(), dump.peers.len());
    let ids: BTreeSet<_> = network.peers().map(|peer| peer.id).collect();
    assert_eq!(ids.len(), network.len(), "two hosts have one ID");
    for (host, id) in network.pins() {
        let holder = network.peer(id).map(|peer| &peer.host);
        assert!(
            holder.is_none_or(|holder| holder == host),
            "a pin is another's"
        );
    }
    let (zone, network) = (Arc::new(zone), Arc::new(network));
    for record in zone.content(&network) {
        let _ = zone::master::line(&record).to_string();
    }
});

fn sorted(registrations: &[Registration]) -> BTreeSet<String> {
    let texts = registrations.iter();
    texts
        .map(|it| serde_json::to_string(it).expect("JSON"))
        .collect()
}

fn zone() -> Zone {
    let text = include_str!("../../zones/pbft.toml");
    zone::parse(Path::new("zone.toml"), text).expect("the zone is right")
}
