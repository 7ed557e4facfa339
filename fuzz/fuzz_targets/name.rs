//! Any octets as a name, as the wire has it or as text has it. The first octet
//! says which, and in which zone.

#![no_main]

use std::{
    cell::OnceCell,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use libfuzzer_sys::fuzz_target;
use param_daemon::{
    network::{Holder, Hostname, Network, Time},
    zone::{Answer, Form, PeerRef, QueryName, Question, Zone, ZoneView, master},
};
use param_daemon_fuzz::zones;

const TYPES: [RecordType; 8] = [
    RecordType::TXT,
    RecordType::SRV,
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CNAME,
    RecordType::ANY,
];

thread_local! {
    static ZONES: OnceCell<Vec<ZoneView>> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, octets)) = data.split_first() else {
        return;
    };
    let name = match choice & 1 {
        0 => Name::read(&mut BinDecoder::new(octets)).ok(),
        _ => std::str::from_utf8(octets)
            .ok()
            .and_then(|text| Name::from_ascii(text).ok()),
    };
    let Some(name) = name else {
        return;
    };
    ZONES.with(|zones| {
        let zones = zones.get_or_init(|| all().map(with_peers).collect());
        let view = &zones[usize::from(choice >> 1) % zones.len()];
        let zone = &view.zone;
        if zone.contains(&name) {
            check(view, &name);
        }
        let mut relative = name;
        relative.set_fqdn(false);
        if let Ok(below) = relative.append_domain(&zone.origin) {
            check(view, &below);
        }
    });
});

fn all() -> impl Iterator<Item = Zone> {
    zones::small().into_iter().chain(zones::shipped())
}

fn with_peers(zone: Zone) -> ZoneView {
    let mut network = Network::new(zone.rules.clone(), 1);
    let address = IpAddr::from([10, 0, 0, 1]);
    let holder = Holder {
        source: address,
        address,
    };
    for host in ["host-0", "host-1"] {
        let host = host.parse().expect("a host");
        let granted = network.register(Time(1), &host, None, holder, &mut Vec::new());
        granted.expect("a free number");
    }
    ZoneView::new(Arc::new(zone), Arc::new(network))
}

fn check(view: &ZoneView, name: &Name) {
    let zone = &view.zone;
    let parsed = zone.parse(name);
    for other in [name.to_lowercase(), large(name)] {
        assert_eq!(zone.parse(&other), parsed, "{name} in other letters");
    }
    if let Some(host) = host_of(&parsed) {
        assert_eq!(
            Hostname::from_label(host.as_str().as_bytes()),
            Ok(host.clone())
        );
        assert!(!zone.is_reserved(host), "{host} is something else");
    }
    if let Some(labels) = spelled(zone, &parsed) {
        let canonical = labels
            .iter()
            .rev()
            .fold(zone.origin.clone(), |name, label| {
                name.prepend_label(label.as_bytes()).expect("there is room")
            });
        assert_eq!(zone.parse(&canonical), parsed, "{canonical}");
        assert_eq!(zone.parse(&large(&canonical)), parsed, "{canonical}");
    }
    for rtype in TYPES {
        if zone.registers(&parsed, rtype) {
            assert!(host_of(&parsed).is_some(), "{name} registers nobody");
        }
        let answer = answer(view, name, rtype);
        check_answer(&answer);
        // RFC 8020: nothing is below what is not there.
        let above = name.base_name();
        if answer.code == ResponseCode::NoError && zone.contains(&above) {
            let above = self::answer(view, &above, rtype);
            let aliased = !above.answers.is_empty();
            assert!(above.code == ResponseCode::NoError || aliased, "{name}");
        }
    }
}

fn answer(view: &ZoneView, name: &Name, rtype: RecordType) -> Answer {
    view.answer(&Question {
        name: &view.zone.parse(name),
        rtype,
        owner: name,
        server: Ipv4Addr::LOCALHOST.into(),
        max_octets: 1_232,
    })
}

/// What is answered can be written, as a message and as a master file.
fn check_answer(answer: &Answer) {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    for record in answer.answers.iter().chain(&answer.authority) {
        let _ = master::line(record).to_string();
    }
    message.answers = answer.answers.clone();
    message.authorities = answer.authority.clone();
    message.to_vec().expect("an answer can be written");
}

fn host_of(parsed: &QueryName) -> Option<&Hostname> {
    match parsed {
        QueryName::Leave(host)
        | QueryName::Peer {
            peer: PeerRef::Host { host, .. },
            ..
        } => Some(host),
        _ => None,
    }
}

/// The labels below the origin by which it is called.
fn spelled(zone: &Zone, parsed: &QueryName) -> Option<Vec<String>> {
    let labels = match parsed {
        QueryName::Apex => vec![],
        QueryName::NameServer => vec!["ns".to_owned(), "dns".to_owned()],
        QueryName::Service(port) => vec![format!("_{port}"), "_tcp".to_owned()],
        QueryName::Status => vec!["_peers".to_owned()],
        QueryName::Leave(host) => vec!["_leave".to_owned(), host.to_string()],
        QueryName::Peer { peer, form } => {
            let environment = (*form == Form::Environment).then(|| "_env".to_owned());
            let labels = match peer {
                PeerRef::Id(id) => vec![zone.rules.id_text(*id)],
                PeerRef::Host { host, role } => {
                    let role = role.map(|role| zone.rules.role(role).name.clone());
                    std::iter::once(host.to_string()).chain(role).collect()
                }
            };
            environment.into_iter().chain(labels).collect()
        }
        QueryName::Empty | QueryName::Unknown => return None,
    };
    Some(labels)
}

/// The name in capital letters.
fn large(name: &Name) -> Name {
    let labels: Vec<_> = name
        .iter()
        .map(|label| label.to_ascii_uppercase())
        .collect();
    let mut large = Name::from_labels(labels).expect("as long as it was");
    large.set_fqdn(name.is_fqdn());
    large
}
