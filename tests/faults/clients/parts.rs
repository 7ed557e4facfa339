//! What each client does until the run is over.

use super::{Client, Field};
use crate::{
    common::random::Random,
    history::{Host, Outcome, Request, Sequence},
};

/// A host, and where its ID comes from.
pub fn host(label: String, sequence: Sequence) -> Host {
    Host { label, sequence }
}

/// Lives for one host, as a container does: it asks until it is the holder, renews the
/// lease about once a second, and now and then leaves, or is silent until its lease has
/// ended. Another client may want the same host.
pub fn live(mut client: Client<'_>, host: &Host) {
    let register = Request::Register(host.clone());
    while !client.field.is_over() {
        let outcome = client.ask(&register);
        if !client.is_holder(&outcome) {
            match outcome {
                Outcome::Granted(_) => client.sleep(300, 1_000),
                _ => client.sleep(100, 500),
            }
            continue;
        }
        match client.random.below(100) {
            0..4 => {
                client.ask(&Request::Leave(host.clone()));
                client.sleep(0, 3_000);
            }
            4..8 => client.sleep(5_000, 10_000),
            // Until its number may be reclaimed.
            8..12 if host.sequence == Sequence::Limited => client.sleep(20_000, 28_000),
            _ => client.sleep(700, 1_300),
        }
    }
}

/// Registers one new host after another. `tag` is what their labels start with.
pub fn come(mut client: Client<'_>, tag: &str, pause: [usize; 2]) {
    for number in 0.. {
        let register = Request::Register(host(format!("{tag}-{number}"), Sequence::Open));
        // A host that is not answered may be registered: it asks again, elsewhere.
        for _ in 0..5 {
            if client.field.is_over() {
                return;
            }
            if let Outcome::Granted(_) = client.ask(&register) {
                break;
            }
            client.sleep(50, 200);
        }
        client.sleep(pause[0], pause[1]);
    }
}

/// Asks for hosts that are registered, as a new container does. It finds each of them
/// known, whichever replica it asks.
pub fn come_back(mut client: Client<'_>) {
    while !client.field.is_over() {
        let chosen = any_registered(client.field, &mut client.random);
        if let Some(host) = chosen.filter(is_of_nobody) {
            client.ask(&Request::Register(host));
        }
        client.sleep(100, 400);
    }
}

/// A host that is registered. Half of the time it has just been, and may not be known
/// everywhere.
fn any_registered(field: &Field, random: &mut Random) -> Option<Host> {
    let is_new = random.percent(50);
    field.recorder.any_registered(|count| match is_new {
        true => count - 1 - random.below(count.min(5)),
        false => random.below(count),
    })
}

/// Whether no client lives for the host.
fn is_of_nobody(host: &Host) -> bool {
    host.label.contains('-')
}

/// Reads.
pub fn read(mut client: Client<'_>, hosts: &[Host]) {
    while !client.field.is_over() {
        let request = any_read(client.field, &mut client.random, hosts);
        client.ask(&request);
        client.sleep(20, 100);
    }
}

fn any_read(field: &Field, random: &mut Random, hosts: &[Host]) -> Request {
    let id = match random.percent(50) {
        true => format!("nvp{}", random.below(4)),
        false => format!("vp{}", random.below(12)),
    };
    match random.below(12) {
        0..4 => Request::AddressOfHost(random.choose(hosts).clone()),
        4..6 => {
            let chosen = any_registered(field, random);
            chosen.map_or(Request::Summary, Request::AddressOfHost)
        }
        6 => Request::AddressOfId(id),
        7..9 => Request::StateOfId(id),
        9 => Request::Summary,
        _ => Request::Serial,
    }
}

/// Releases a host now and then.
pub fn administer(mut client: Client<'_>, hosts: &[Host]) {
    while !client.field.is_over() {
        client.sleep(4_000, 10_000);
        let (field, random) = (client.field, &mut client.random);
        let host = match random.percent(50) {
            true => Some(random.choose(hosts).clone()),
            false => field.recorder.any_registered(|count| random.below(count)),
        };
        if let Some(host) = host.filter(|_| !client.field.is_over()) {
            client.ask(&Request::Release(host));
        }
    }
}
