//! Networks of Fabric peers that lose peers, hosts and addresses: the service
//! with the shipped zones, the start script, and a stand-in that behaves as
//! strictly as the real peer (tests/swarm/peer). Each container is a network
//! namespace whose resolver is the service.

mod containers;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use crate::common::{self, Service, zones};
use containers::{Fabric, HEALED, Peer, Start, TOUCH, address};

/// Without consensus there may be one validator, and a peer that only serves
/// REST.
#[test]
fn the_only_validator_is_replaced_at_another_address_without_its_ledger() {
    let fabric = Fabric::new(5);
    let peers = fabric.start_all(&[
        Start::mixed("noops", "noops-1"),
        Start::rest("noops", "rest-1"),
    ]);
    let [validator, rest] = &peers[..] else {
        unreachable!()
    };
    fabric.until_they_meet(&[validator, rest], HEALED);

    fabric.kill(validator.host);
    let replaced = fabric.start(3, &Start::mixed("noops", "noops-1").files("new"));
    fabric.until_they_meet(&[&replaced, rest], HEALED);
    answered_only_at(rest, &[3]);

    // Both are gone. The peer that does not validate starts first, and has nobody
    // to join.
    fabric.kill(rest.host);
    fabric.kill(replaced.host);
    fabric.until_live("noops", 0);
    let rest = fabric.start(4, &Start::rest("noops", "rest-1").files("new rest"));
    rest.until(HEALED, "it waits for a validator", |log| {
        log.contains("waiting: ") && log.contains("REFUSED")
    });
    assert_eq!(rest.id(), "", "it has not waited: {}", rest.log());
    let validator = fabric.start(5, &Start::mixed("noops", "noops-1").files("newer"));
    fabric.until_they_meet(&[&validator, &rest], HEALED);
    answered_only_at(&rest, &[5]);
}

/// As in `docker service update`: each task keeps its host name and its ledger.
#[test]
fn after_a_rolling_restart_no_request_goes_to_an_address_that_is_gone() {
    let fabric = Fabric::new(9);
    let mut starts = Vec::from(four());
    starts.push(Start::rest("pbft", "rest-1"));
    let mut peers = fabric.start_all(&starts);
    fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);

    for index in 0..4 {
        peers[index].stop();
        peers[index] = fabric.start(6 + index, &starts[index]);
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);
    }
    answered_only_at(&peers[4], &[6, 7, 8, 9]);
}

/// The remaining peers send on a connection that nobody closes. The kernel gives
/// up after tcp_retries2 retransmissions, and only then do they accept the
/// replacement; see scripts/swarm/README.md.
#[test]
fn after_a_power_loss_the_replacement_is_in_as_soon_as_tcp_gives_up() {
    let fabric = Fabric::new(5);
    fabric.tcp_retries(5);
    let peers = fabric.start_all(&four());
    fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);

    let began = Instant::now();
    fabric.cut(2);
    let replaced = fabric.start(5, &Start::mixed("pbft", "peer-2").files("new"));
    let all = [&peers[0], &replaced, &peers[2], &peers[3]];
    // Until then the remaining peers consider the lost one connected.
    for peer in [&peers[0], &peers[2], &peers[3]] {
        peer.until(HEALED, "its kernel gives up", |log| {
            log.contains("lost vp1: ")
        });
    }
    fabric.until_they_meet(&all, HEALED);
    println!("one network again {:?} after the loss", began.elapsed());
}

/// The first peer is registered, but is not listening yet when the others dial
/// it.
#[test]
fn the_first_peer_listens_late() {
    let fabric = Fabric::new(4);
    let [first, second, third, fourth] = four();
    let peers = fabric.start_all(&[first.late(8), second, third, fourth]);
    fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);
}

#[test]
fn the_only_validator_listens_late() {
    let fabric = Fabric::new(2);
    let peers = fabric.start_all(&[
        Start::mixed("noops", "noops-1").late(8),
        Start::rest("noops", "rest-1"),
    ]);
    fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);
    answered_only_at(&peers[1], &[1]);
}

/// A peer does not check the network of another peer.
#[test]
fn networks_that_share_addresses_do_not_mix() {
    let fabric = Fabric::new(5);
    let peers = fabric.start_all(&four());
    let noops = fabric.start(5, &Start::mixed("noops", "noops-1"));
    fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), HEALED);

    fabric.kill(4);
    fabric.until_live("pbft", 3);
    let another = fabric.start(4, &Start::mixed("noops", "noops-2"));
    fabric.until_they_meet(&[&noops, &another], HEALED);
    // The three peers dial the lost one repeatedly.
    thread::sleep(3 * TOUCH);
    fabric.until_they_meet(&[&peers[0], &peers[1], &peers[2]], TOUCH);
    fabric.until_they_meet(&[&noops, &another], TOUCH);
    for (network, peers) in [
        ("pbft", &peers.iter().collect::<Vec<&Peer>>()),
        ("noops", &vec![&noops, &another]),
    ] {
        for peer in peers {
            let met = BTreeSet::from_iter(peer.networks());
            let own = format!("{network}-fabric-internal");
            assert_eq!(met, BTreeSet::from([own]), "{}", peer.log());
        }
    }
}

fn four() -> [Start<'static>; 4] {
    ["peer-1", "peer-2", "peer-3", "peer-4"].map(|name| Start::mixed("pbft", name))
}

/// From now on every request of the peer is answered by one of these hosts, and
/// each of them gets some.
fn answered_only_at(peer: &Peer, hosts: &[usize]) {
    let hosts: BTreeSet<String> = hosts
        .iter()
        .map(|&host| format!("({}):", address(host)))
        .collect();
    let before = peer.requests().len();
    let deadline = Instant::now() + HEALED;
    let mut met = BTreeSet::new();
    // The first request may have been under way.
    while met != hosts || peer.requests().len() < before + 6 {
        for request in peer.requests().iter().skip(before + 1) {
            let host = hosts.iter().find(|host| request.contains(*host));
            let host = host.unwrap_or_else(|| panic!("{request} goes to none of {hosts:?}"));
            assert!(request.contains("answered by vp"), "{request}");
            met.insert(host.clone());
        }
        assert!(Instant::now() < deadline, "only {met:?}: {}", peer.log());
        thread::sleep(Duration::from_millis(200));
    }
}

/// With the member services, each peer gets its own identity and token.
#[test]
fn each_peer_is_given_the_token_of_its_id() {
    let example = common::shipped_zones().join("examples/pbft-member-services.toml");
    let zones = zones(&[("pbft.toml", &fs::read_to_string(example).unwrap())]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    for (host, id) in [
        ("peer-1.mixed", "vp0"),
        ("peer-2.validator", "vp1"),
        ("rest-1.rest", "nvp0"),
        ("peer-3", "vp2"),
        ("rest-2.rest", "nvp1"),
    ] {
        let stated = format!("+subnet=10.0.0.{}/32", host.len());
        let name = format!("_env.{host}.pbft.fabric.internal");
        let variables = service.short(&[&stated, "TXT", &name]);
        for variable in ["ENROLLID=", "ENROLLSECRET=token-of-"] {
            let variable = format!("\"CORE_SECURITY_{variable}{id}\"");
            assert!(variables.contains(&variable), "{variable}: {variables:?}");
        }
    }
}
