//! The environments of peers that are kept: none is out of date, and they take no more
//! memory than they may.

use std::{net::IpAddr, path::Path, sync::Arc};

use hickory_proto::{op::Message, rr::RData};
use param_daemon::{
    network::{Holder, Network, Time},
    zone::{self, EnvironmentCache, ZoneView},
};

/// A zone whose environments name all that they can depend on.
fn text(limit: u32) -> String {
    format!(
        "origin = \"x\"\nroot_port = \"grpc\"\nroot_sequence = \"vp\"\n\
         default_role = \"mixed\"\n[ports]\ngrpc = 7051\n\
         [sequences.vp]\nlimit = {limit}\n[environment]\nID = \"{{{{ id }}}}\"\n\
         EPOCH = \"{{{{ epoch }}}}\"\nADDRESS = \"{{{{ address }}}}\"\nSERVER = \"{{{{ server }}}}\"\n\
         ROOTS = \"{{{{ roots | join(',') }}}}\"\nALL = \"{{{{ members | join(',') }}}}\"\n\
         LIVE = \"{{{{ members | selectattr('live') | list | length }}}}\"\n\
         [roles.mixed]\nsequence = \"vp\"\n"
    )
}

/// The strings of all answers.
fn strings(reply: &[u8]) -> Vec<String> {
    let message = Message::from_vec(reply).unwrap();
    let data = message.answers.iter().map(|record| &record.data);
    let strings = data.flat_map(|data| match data {
        RData::TXT(txt) => txt.txt_data.to_vec(),
        _ => Vec::new(),
    });
    let text = |octets: Box<[u8]>| String::from_utf8_lossy(&octets).into_owned();
    strings.map(text).collect()
}

/// The strings of an environment that a view writes.
fn environment(view: &ZoneView, host: &str, server: [u8; 4]) -> Vec<String> {
    let below = [&[4][..], b"_env", &[host.len() as u8], host.as_bytes()].concat();
    let name = view.peer_name(&below).unwrap();
    let found = view.lookup(&name, &view.locate(&name).unwrap()).unwrap();
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(&below);
    message.extend([1, b'x', 0, 0, 16, 0, 1]);
    let written = view.write(&found, name.form, 16, server.into(), &mut message);
    let written = written.unwrap();
    message[6..8].copy_from_slice(&written.answers.to_be_bytes());
    message[10..12].copy_from_slice(&written.additional.to_be_bytes());
    strings(&message)
}

#[test]
fn an_environment_is_rendered_again_when_what_it_names_has_changed() {
    let zone = Arc::new(zone::parse(Path::new("x.toml"), &text(3)).unwrap());
    let mut network = Network::new(zone.rules.clone(), 1);
    let mut now = Time(1);
    let register = |network: &mut Network, now, host: &str, last| {
        let address = IpAddr::from([10, 0, 0, last]);
        let holder = Holder {
            source: address,
            address,
        };
        let host = host.parse().unwrap();
        network
            .register(now, &host, None, holder, &mut vec![])
            .unwrap();
    };
    register(&mut network, now, "a", 1);
    let environments = Arc::new(EnvironmentCache::new(1 << 20));
    let first = Arc::new(network.clone());
    let mut view = ZoneView::with_cache(zone.clone(), first, environments.clone());
    let mut seen: Vec<Vec<String>> = Vec::new();
    let mut step = |view: &ZoneView, is_new: bool| {
        let strings = environment(view, "a", [127, 0, 0, 1]);
        // What is kept is what is rendered.
        let unkept = ZoneView::new(view.zone.clone(), view.network.clone());
        assert_eq!(strings, environment(&unkept, "a", [127, 0, 0, 1]));
        assert_eq!(strings, environment(view, "a", [127, 0, 0, 1]));
        assert_eq!(seen.contains(&strings), !is_new, "{strings:?}");
        seen.push(strings);
    };
    step(&view, true);
    // Nothing that it names is another.
    view = view.next(Arc::new(network.clone()));
    step(&view, false);
    // A second root node and member; it leaves.
    register(&mut network, now, "b", 2);
    view = view.next(Arc::new(network.clone()));
    step(&view, true);
    let address = IpAddr::from([10, 0, 0, 2]);
    let holder = Holder {
        source: address,
        address,
    };
    network.leave(now, &"b".parse().unwrap(), holder).unwrap();
    view = view.next(Arc::new(network.clone()));
    step(&view, true);
    // The peer itself has another holder, and so another epoch.
    now = now + zone.rules.lease;
    network.expire(now, 64);
    register(&mut network, now, "a", 3);
    view = view.next(Arc::new(network.clone()));
    step(&view, true);
    let elsewhere = environment(&view, "a", [127, 0, 0, 2]);
    assert!(
        elsewhere.contains(&"SERVER=127.0.0.2".to_owned()),
        "{elsewhere:?}"
    );
}

/// However many environments are asked for, those that are kept take no more than the
/// bound, and each is its peer's.
#[test]
fn kept_environments_take_no_more_than_the_bound() {
    const BOUND: usize = 64 << 10;
    const PEERS: u32 = 500;
    let zone = Arc::new(zone::parse(Path::new("x.toml"), &text(PEERS)).unwrap());
    let mut network = Network::new(zone.rules.clone(), 1);
    for number in 0..PEERS {
        let address = IpAddr::from((0x0a02_0000 + number).to_be_bytes());
        let host = format!("host-{number}").parse().unwrap();
        let holder = Holder {
            source: address,
            address,
        };
        let now = network.next_deadline().unwrap_or_default();
        network
            .register(now, &host, None, holder, &mut vec![])
            .unwrap();
    }
    let environments = Arc::new(EnvironmentCache::new(BOUND));
    let view = ZoneView::with_cache(zone, Arc::new(network), environments.clone());
    for _ in 0..2 {
        for number in 0..PEERS {
            let host = format!("host-{number}");
            let id = format!("ID=vp{number}");
            for _ in 0..2 {
                let strings = environment(&view, &host, [127, 0, 0, 1]);
                assert!(strings.contains(&id), "{host}: {strings:?}");
            }
            assert!(environments.bytes() <= BOUND, "{}", environments.bytes());
        }
    }
    // A few dozen have room.
    assert!(environments.bytes() > BOUND / 2, "{}", environments.bytes());
}
