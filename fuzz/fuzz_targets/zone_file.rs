//! Any text as a zone file. What is accepted can be served.

#![no_main]

#[path = "../../tests/server/transfers/axfr.rs"]
mod axfr;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Record, RecordType},
};
use libfuzzer_sys::fuzz_target;
use param_daemon::{
    network::{Holder, Network, Role, Time},
    server::transfer::TransferContent,
    zone::{self, QueryName, Question, Zone, ZoneView},
};

fuzz_target!(|text: &str| {
    // A template may make a text of 100 MB in one step, by `'x' * 99999999` or by
    // an indent of as much, of which no fuel is counted. Who writes that into a
    // zone file waits; here it would hide what else takes long.
    if text.contains('*') || text.contains("indent") {
        return;
    }
    match zone::parse(Path::new("zone.toml"), text) {
        Ok(zone) => serve(&Arc::new(zone)),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            for problem in problems {
                let line = problem.line.expect("a problem stands somewhere");
                assert!((1..=lines).contains(&line), "{problem}");
            }
        }
    }
});

/// The apex answers, a host of each role registers, and the whole zone can be
/// transferred.
fn serve(zone: &Arc<Zone>) {
    let mut network = Network::new(zone.rules.clone(), 1);
    let question = Question {
        name: &QueryName::Apex,
        rtype: RecordType::SOA,
        owner: &zone.origin,
        server: Ipv4Addr::LOCALHOST.into(),
        max_octets: 1_232,
    };
    let view = ZoneView::new(zone.clone(), Arc::new(network.clone()));
    let apex = view.answer(&question);
    assert_eq!(apex.code, ResponseCode::NoError);
    assert_eq!(apex.answers.len(), 1);
    for (number, place) in (0..zone.rules.roles.len().min(8)).enumerate() {
        // The longest name that a host may have, and an address that is long.
        let host = format!("a{number:062}").parse().expect("a host");
        let address: IpAddr = "2001:db8:1111:2222:3333:4444:5555:6666"
            .parse()
            .expect("an address");
        let holder = Holder {
            source: address,
            address,
        };
        let role = Some(Role(place as u16));
        let granted = network.register(Time(1), &host, role, holder, &mut Vec::new());
        assert!(granted.is_ok() || number > 0, "the first host is refused");
    }
    let network = Arc::new(network);
    for record in zone.content(&network).chain(zone.status(&network, Time(2))) {
        write(record);
    }
    transfer(zone, network);
}

/// It has the zone's records, and the first once more.
fn transfer(zone: &Arc<Zone>, network: Arc<Network>) {
    let mut found = Vec::new();
    for octets in axfr::messages(&axfr::asked(zone, &network, TransferContent::Zone, false)) {
        let message = Message::from_vec(&octets).expect("a message can be understood");
        found.extend(message.answers);
    }
    let last = found.pop();
    assert_eq!(last.as_ref(), found.first());
    assert!(found.into_iter().eq(zone.content(&network)));
}

/// The library leaves out what has no room.
fn write(record: Record) {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    let shown = record.to_string();
    message.answers.push(record);
    let octets = message.to_vec().expect("a record can be written");
    let written = Message::from_vec(&octets).expect("a message can be understood");
    assert_eq!(written.answers, message.answers, "{shown:.200}");
}
