//! Networks of Fabric peers that lose peers, hosts and addresses: the service
//! with the shipped zones, the start script, and a stand-in that behaves as
//! strictly as the real peer (tests/swarm/peer). Each container is a network
//! namespace whose resolver is the service. `FABRIC_ROUNDS=3` repeats each scenario, every
//! time in a network of its own.

mod containers;
mod requests;

use std::{
    collections::BTreeSet,
    env, fs, thread,
    time::{Duration, Instant},
};

use crate::common::{self, Service, zones};
use containers::{Deadline, Fabric, Peer, Start, TOUCH, address};
use requests::{Judge, answered_only_at};

/// After a power loss: the lease of the lost peer, and the time that TCP takes to give
/// up, during which nothing else can help.
const REPLACED: Duration = Duration::from_secs(40);

/// Runs a scenario with hosts of its own, as often as `FABRIC_ROUNDS` says.
fn rounds(hosts: usize, scenario: impl Fn(&Fabric)) {
    let rounds: usize = env::var("FABRIC_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 1..=rounds {
        let began = Instant::now();
        scenario(&Fabric::new(hosts));
        println!("round {round} of {rounds} took {:?}", began.elapsed());
    }
}

/// Without consensus there may be one validator, and a peer that only serves
/// REST.
#[test]
fn the_only_validator_is_replaced_at_another_address_without_its_ledger() {
    rounds(5, |fabric| {
        let peers = fabric.start_all(&[
            Start::mixed("noops", "noops-1"),
            Start::rest("noops", "rest-1"),
        ]);
        let [validator, rest] = &peers[..] else {
            unreachable!()
        };
        fabric.until_they_meet(&[validator, rest], Deadline::healed());

        let deadline = Deadline::healed();
        fabric.kill(validator.host);
        let replaced = fabric.start(3, &Start::mixed("noops", "noops-1").files("new"));
        fabric.until_they_meet(&[&replaced, rest], deadline);
        answered_only_at(rest, &[3], deadline);

        // Both are gone. The peer that does not validate starts first, and has
        // nobody to join.
        let deadline = Deadline::healed();
        fabric.kill(rest.host);
        fabric.kill(replaced.host);
        fabric.until_live("noops", 0, deadline);
        let rest = fabric.start(4, &Start::rest("noops", "rest-1").files("new rest"));
        rest.until(deadline, "it waits for a validator", |log| {
            log.contains("waiting: ") && log.contains("REFUSED")
        });
        assert_eq!(rest.id(), "", "it has not waited: {}", rest.log());
        let validator = fabric.start(5, &Start::mixed("noops", "noops-1").files("newer"));
        fabric.until_they_meet(&[&validator, &rest], deadline);
        answered_only_at(&rest, &[5], deadline);
    });
}

/// As in `docker service update`: each task keeps its host name and its ledger. The
/// peer that sends the requests is the last to be restarted.
#[test]
fn during_a_rolling_restart_no_request_goes_to_an_address_that_is_gone() {
    rounds(10, |fabric| {
        let mut starts = Vec::from(four());
        starts.push(Start::rest("pbft", "rest-1"));
        let mut peers = fabric.start_all(&starts);
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), Deadline::healed());
        let mut judge = Judge::new(&peers[4], &peers[..4]);

        for index in 0..4 {
            let deadline = Deadline::healed();
            let id = peers[index].id();
            peers[index].stop();
            judge.gone(&peers[4], &id);
            peers[index] = fabric.start(6 + index, &starts[index]);
            fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), deadline);
            assert_eq!(peers[index].id(), id);
            judge.back(&peers[4], &id, 6 + index);
        }
        let hosts = [6, 7, 8, 9];
        answered_only_at(&peers[4], &hosts, Deadline::healed());

        let deadline = Deadline::healed();
        peers[4].stop();
        judge.all(&peers[4]);
        peers[4] = fabric.start(10, &starts[4]);
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), deadline);
        answered_only_at(&peers[4], &hosts, deadline);
        judge.restarted(&peers[4]);
    });
}

/// The remaining peers send on a connection that nobody closes. The kernel gives
/// up after tcp_retries2 retransmissions, and only then do they accept the
/// replacement; see scripts/swarm/README.md.
#[test]
fn after_a_power_loss_the_replacement_is_in_as_soon_as_tcp_gives_up() {
    rounds(5, |fabric| {
        fabric.tcp_retries(&tcp_retries_of_the_stack());
        let peers = fabric.start_all(&four());
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), Deadline::healed());

        let deadline = Deadline::within(REPLACED);
        fabric.cut(2);
        let replaced = fabric.start(5, &Start::mixed("pbft", "peer-2").files("new"));
        let survivors = [&peers[0], &peers[2], &peers[3]];
        for peer in survivors {
            peer.until(deadline, "its kernel gives up", |log| {
                log.contains("lost vp1: ")
            });
        }
        let all = [&peers[0], &replaced, &peers[2], &peers[3]];
        fabric.until_they_meet(&all, deadline);
        println!("one network again {:?} after the loss", deadline.elapsed());

        // Until then the remaining peers considered the lost one connected.
        let refused = |peer: &&Peer| {
            let log = peer.log();
            let (before, _) = log.split_once("lost vp1: ").unwrap();
            before.contains("refuses another connection of vp1: Duplicate Handler")
        };
        let logs = || survivors.map(Peer::log).join("\n");
        assert!(survivors.iter().any(refused), "{}", logs());
    });
}

/// The value that the stack file gives the peers.
fn tcp_retries_of_the_stack() -> String {
    let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/swarm/stack.yml");
    let text = fs::read_to_string(stack).unwrap();
    let (_, value) = text.split_once("net.ipv4.tcp_retries2: \"").unwrap();
    value.split_once('"').unwrap().0.to_owned()
}

/// The first peer is registered, but is not listening yet when the others dial
/// it.
#[test]
fn the_first_peer_listens_late() {
    rounds(4, |fabric| {
        let deadline = Deadline::healed();
        let [first, others @ ..] = four();
        let late = fabric.start(1, &first.late(8));
        late.until_registered("peer-1");
        // All at once, so that even the last of them is early enough.
        let others = [0, 1, 2].map(|index| fabric.start(2 + index, &others[index]));
        let mut all = vec![&late];
        all.extend(&others);
        fabric.until_they_meet(&all, deadline);
        for peer in &others {
            assert!(peer.log().contains(" cannot reach vp0."), "{}", peer.log());
        }
    });
}

#[test]
fn the_only_validator_listens_late() {
    rounds(2, |fabric| {
        let deadline = Deadline::healed();
        let peers = fabric.start_all(&[
            Start::mixed("noops", "noops-1").late(8),
            Start::rest("noops", "rest-1"),
        ]);
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), deadline);
        answered_only_at(&peers[1], &[1], deadline);
        let log = peers[1].log();
        assert!(log.contains(" cannot reach vp0."), "{log}");
    });
}

/// A peer does not check the network of another peer.
#[test]
fn networks_that_share_addresses_do_not_mix() {
    rounds(5, |fabric| {
        let peers = fabric.start_all(&four());
        let noops = fabric.start(5, &Start::mixed("noops", "noops-1"));
        fabric.until_they_meet(&peers.iter().collect::<Vec<_>>(), Deadline::healed());

        let deadline = Deadline::healed();
        fabric.kill(4);
        fabric.until_live("pbft", 3, deadline);
        let another = fabric.start(4, &Start::mixed("noops", "noops-2"));
        fabric.until_they_meet(&[&noops, &another], deadline);
        // The three peers dial the lost one repeatedly.
        thread::sleep(3 * TOUCH);
        let survivors = [&peers[0], &peers[1], &peers[2]];
        fabric.until_they_meet(&survivors, deadline);
        fabric.until_they_meet(&[&noops, &another], deadline);
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
        // Its name leads nowhere.
        for peer in survivors {
            let unresolved = " cannot reach vp3.pbft.fabric.internal:7051 (unresolved): ";
            peer.until(deadline, "it dials the lost peer", |log| {
                log.contains(unresolved)
            });
        }
    });
}

fn four() -> [Start<'static>; 4] {
    ["peer-1", "peer-2", "peer-3", "peer-4"].map(|name| Start::mixed("pbft", name))
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
