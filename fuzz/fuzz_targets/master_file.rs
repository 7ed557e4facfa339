//! Any text as a zone's master file. What is accepted is answered, and comes
//! back the same from a dump.

#![no_main]

use std::{net::Ipv4Addr, path::Path};

use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{RData, Record, RecordType},
};
use libfuzzer_sys::fuzz_target;
use param_daemon::{
    network::Network,
    zone::{Asked, Question, master},
};
use param_daemon_fuzz::zones;

thread_local! {
    static ZONES: std::cell::RefCell<Vec<param_daemon::zone::Zone>> =
        std::cell::RefCell::new(zones::small());
}

fuzz_target!(|text: &str| {
    // Would open any file there is.
    if text.contains("$INCLUDE") {
        return;
    }
    ZONES.with_borrow_mut(|zones| {
        let zone = &mut zones[0];
        zone.further = master::Records::default();
        let path = Path::new("zone");
        let further = match master::parse(path, text, zone) {
            Ok(further) => further,
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                let lines = text.lines().count();
                for problem in problems {
                    let within = problem.line.is_none_or(|line| (1..=lines).contains(&line));
                    assert!(within, "{problem}");
                }
                return;
            }
        };
        for record in further.iter().filter(|record| is_told_as_text(record)) {
            let line = master::line(record).to_string();
            let again = master::parse(path, &line, zone)
                .unwrap_or_else(|problems| panic!("{line:?}: {problems:?}"));
            let again: Vec<_> = again.iter().collect();
            assert_eq!(again, [record], "{line:?}");
        }
        let names: Vec<_> = further.iter().map(|record| record.name.clone()).collect();
        zone.further = further;
        let network = Network::new(zone.rules.clone(), 1);
        for name in names {
            for rtype in [RecordType::A, RecordType::ANY, RecordType::MX] {
                let question = Question {
                    name: &zone.parse(&name),
                    asked: Asked {
                        rtype,
                        owner: &name,
                        server: Ipv4Addr::LOCALHOST.into(),
                    },
                    room: 1_232,
                };
                let answer = zone.answer(&network, &question);
                let mut message = Message::new(0, MessageType::Response, OpCode::Query);
                message.answers = answer.answers;
                message.to_vec().expect("an answer can be written");
            }
        }
    });
});

/// Types whose data a dump writes as words, which the same parser reads again.
fn is_told_as_text(record: &Record) -> bool {
    match &record.data {
        RData::A(_) | RData::AAAA(_) => true,
        RData::CNAME(_) | RData::MX(_) | RData::NS(_) | RData::PTR(_) | RData::SRV(_) => true,
        // Other octets are written as numbers, which the parser misreads and
        // `master` therefore refuses.
        RData::TXT(txt) => txt.txt_data.iter().all(|it| it.iter().all(is_printable)),
        _ => false,
    }
}

fn is_printable(octet: &u8) -> bool {
    (b' '..=b'~').contains(octet)
}
