//! Any octets as a zone's master file. What is accepted is answered, and comes
//! back the same from a dump.

#![no_main]

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::RecordType,
};
use libfuzzer_sys::fuzz_target;
use param_daemon::{
    network::Network,
    zone::{Question, ZoneView, master},
};
use param_daemon_fuzz::zones;

thread_local! {
    static ZONES: std::cell::RefCell<Vec<param_daemon::zone::Zone>> =
        std::cell::RefCell::new(zones::small());
}

fuzz_target!(|text: &[u8]| {
    ZONES.with_borrow_mut(|zones| {
        let zone = &mut zones[0];
        zone.static_records = master::StaticRecords::default();
        let path = Path::new("zone");
        let further = match master::parse(path, text, zone) {
            Ok(further) => further,
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                let lines = text.split(|octet| *octet == b'\n').count();
                for problem in problems {
                    let within = problem.line.is_some_and(|line| (1..=lines).contains(&line));
                    assert!(within, "{problem}");
                }
                return;
            }
        };
        let lines: String = further
            .iter()
            .map(|record| format!("{}\n", master::line(record)))
            .collect();
        let again = master::parse(path, lines.as_bytes(), zone)
            .unwrap_or_else(|problems| panic!("{lines:?}: {problems:?}"));
        assert!(again.iter().eq(further.iter()), "{lines:?}");
        let names: Vec<_> = further.iter().map(|record| record.name.clone()).collect();
        let mut zone = zones.swap_remove(0);
        zone.static_records = further;
        let network = Network::new(zone.rules.clone(), 1);
        let view = ZoneView::new(Arc::new(zone), Arc::new(network));
        for name in names {
            for rtype in [RecordType::A, RecordType::ANY, RecordType::MX] {
                let question = Question {
                    name: &view.zone.parse(&name),
                    rtype,
                    owner: &name,
                    server: Ipv4Addr::LOCALHOST.into(),
                    max_octets: 1_232,
                };
                let answer = view.answer(&question);
                let mut message = Message::new(0, MessageType::Response, OpCode::Query);
                message.answers = answer.answers;
                message.to_vec().expect("an answer can be written");
            }
        }
        zones.extend(Arc::into_inner(view.zone));
        let last = zones.len() - 1;
        zones.swap(0, last);
    });
});
