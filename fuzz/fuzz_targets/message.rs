//! Any packet, from any source: the first octet says which. The service goes on
//! from one packet to the next, as the real one does, and is made anew when it
//! has many peers.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use param_daemon_fuzz::{
    law,
    service::{Memory, Service, source},
    zones,
};

/// More peers than that make the service begin anew.
const MOST_PEERS: usize = 64;

/// By TCP, from a loopback address: proven.
const PROVEN: u8 = 8;

thread_local! {
    static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, packet)) = data.split_first() else {
        return;
    };
    SERVICE.with_borrow_mut(|kept| {
        let service = kept.get_or_insert_with(with_peers);
        law::ask(service, packet, source(*choice));
        let peers = service.zones.iter().map(|zone| zone.network().len());
        if peers.max() > Some(MOST_PEERS)
            && let Some(service) = kept.take()
        {
            service.stop();
        }
    });
});

/// A service with three peers in each zone.
fn with_peers() -> Service {
    let mut zones = zones::shipped();
    zones.extend(zones::small());
    let service = Service::start(zones, &Memory::default());
    for published in service.zones.clone() {
        for host in ["host-0", "host-1", "host-2"] {
            let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            packet.push(host.len() as u8);
            packet.extend(host.bytes());
            for label in &published.zone.origin {
                packet.push(label.len() as u8);
                packet.extend(label);
            }
            packet.extend([0, 0, 16, 0, 1]);
            law::ask(&service, &packet, source(PROVEN));
        }
    }
    service
}
