//! Any text as a JSON dump. What is accepted is written and read back the same,
//! and the network that it makes keeps the law.

#![no_main]

use std::{collections::BTreeSet, path::Path};

use libfuzzer_sys::fuzz_target;
use param_daemon::{
    clock::Clock,
    commands::restore,
    registry,
    store::{Registration, Store},
    zone::{self, Zone},
};
use param_daemon_fuzz::service::Memory;

fuzz_target!(|text: &str| {
    let Ok(dump) = restore::parse(text, "the dump") else {
        return;
    };
    let written = serde_json::to_string(&dump).expect("a dump can be written");
    let again = restore::parse(&written, "the dump").expect("what was written is right");
    assert_eq!((&again.peers, &again.pins), (&dump.peers, &dump.pins));
    assert_eq!((&again.origin, again.serial), (&dump.origin, dump.serial));

    let mut store = Memory::default();
    let writes = restore::writes(&dump);
    store.commit(&writes).expect("memory takes all");
    let contents = store.load(&dump.origin).expect("memory gives all");
    assert!(contents.serial > dump.serial, "the serial goes on");
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
