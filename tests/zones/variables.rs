//! The variables of the shipped zones: what v0.6.1-preview's core.yaml reads, and nothing
//! else. A variable that the peer does not read is a mistake that nobody notices.

use super::names::{ask, environment, service, value};

/// `{id}`, `{zone}` and `{roots}` are those of the peer.
const EVERY_PEER: &str = "
    CORE_PEER_ID={id}
    CORE_PEER_NETWORKID={zone}-fabric-internal
    CORE_PEER_ADDRESS={id}.{zone}.fabric.internal:7051
    CORE_PEER_LISTENADDRESS=0.0.0.0:7051
    CORE_PEER_DISCOVERY_ROOTNODE={roots}
    CORE_PEER_FILESYSTEMPATH=/var/hyperledger/production/{zone}.fabric.internal/{id}
    CORE_PEER_SYNC_BLOCKS_CHANNELSIZE=100
    CORE_PEER_SYNC_STATE_SNAPSHOT_CHANNELSIZE=500
    CORE_PEER_SYNC_STATE_DELTAS_CHANNELSIZE=200
    CORE_PEER_VALIDATOR_CONSENSUS_BUFFERSIZE=7500
    CORE_PEER_VALIDATOR_EVENTS_BUFFERSIZE=1000
    CORE_VM_DOCKER_HOSTCONFIG_DNS=127.0.0.1";

const BY_ZONE: [(&str, &str); 2] = [
    (
        "pbft",
        "CORE_PEER_VALIDATOR_CONSENSUS_PLUGIN=pbft
        CORE_PBFT_GENERAL_MODE=batch
        CORE_PBFT_GENERAL_N=4
        CORE_PBFT_GENERAL_F=1",
    ),
    (
        "noops",
        "CORE_PEER_VALIDATOR_CONSENSUS_PLUGIN=noops
        CORE_NOOPS_BLOCK_SIZE=1
        CORE_NOOPS_BLOCK_WAIT=1s",
    ),
];

/// The first peer of each role; both validating roles have one sequence.
const BY_ROLE: [(&str, &str, &str); 3] = [
    (
        "mixed",
        "vp0",
        "CORE_REST_ENABLED=true
        CORE_REST_ADDRESS=0.0.0.0:7050
        CORE_PEER_VALIDATOR_ENABLED=true
        CORE_PEER_VALIDATOR_EVENTS_ADDRESS=0.0.0.0:7053",
    ),
    (
        "validator",
        "vp1",
        "CORE_REST_ENABLED=false
        CORE_PEER_VALIDATOR_ENABLED=true
        CORE_PEER_VALIDATOR_EVENTS_ADDRESS=0.0.0.0:7053",
    ),
    (
        "rest",
        "nvp0",
        "CORE_REST_ENABLED=true
        CORE_REST_ADDRESS=0.0.0.0:7050
        CORE_PEER_VALIDATOR_ENABLED=false",
    ),
];

/// The root nodes of a peer: all validators that are named, and the first peers that do
/// not validate, without itself.
fn roots(zone: &str, id: &str, validators: &[u32]) -> String {
    let validators = validators.iter().map(|number| format!("vp{number}"));
    let others = (0..4).map(|number| format!("nvp{number}"));
    let all = validators.chain(others).filter(|other| other != id);
    let names: Vec<String> = all
        .map(|other| format!("{other}.{zone}.fabric.internal:7051"))
        .collect();
    names.join(",")
}

#[test]
fn the_shipped_zones_set_what_the_peer_reads() {
    let (service, _data) = service();
    for (zone, of_zone) in BY_ZONE {
        let named: Vec<u32> = (0..if zone == "pbft" { 4 } else { 8 }).collect();
        for (number, (role, id, of_role)) in BY_ROLE.iter().enumerate() {
            let address = format!("10.0.1.{}", number + 1);
            let host = format!("{role}-host.{role}.{zone}.fabric.internal");
            let variables = environment(&service, &host, &address);
            let mut variables: Vec<String> = variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            variables.sort_unstable();
            let mut expected: Vec<String> = [EVERY_PEER, of_zone, of_role]
                .join(" ")
                .replace("{id}", id)
                .replace("{zone}", zone)
                .replace("{roots}", &roots(zone, id, &named))
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            expected.sort_unstable();
            assert_eq!(variables, expected, "{zone} {role}");
        }
    }
}

/// Without a limited sequence, the first numbers are named, registered or not, and of the
/// others those that live.
#[test]
fn a_root_node_with_a_high_number_is_named_while_it_lives() {
    let (service, _data) = service();
    let host = |role: &str, number: u32| format!("{role}-{number}.{role}.noops.fabric.internal");
    let address = |role: &str, number: u32| match role {
        "rest" => format!("10.0.2.{}", number + 1),
        _ => format!("10.0.1.{}", number + 1),
    };
    for (role, count) in [("mixed", 10), ("rest", 4)] {
        for number in 0..count {
            ask(&service, &host(role, number), &address(role, number));
        }
    }
    let told = |role: &str, number: u32| {
        let host = host(role, number);
        let variables = environment(&service, &host, &address(role, number));
        value(&variables, "CORE_PEER_DISCOVERY_ROOTNODE")
    };
    let first: Vec<u32> = (0..8).collect();
    assert_eq!(told("mixed", 0), roots("noops", "vp0", &first));
    assert_eq!(told("rest", 0), roots("noops", "nvp0", &first));
    // The last name of the list is its own.
    assert_eq!(told("rest", 3), roots("noops", "nvp3", &first));
    // An answer names the three lowest that live.
    for number in 0..6 {
        let name = format!("_leave.mixed-{number}.noops.fabric.internal");
        ask(&service, &name, &address("mixed", number));
    }
    let with = |more: &[u32]| [&first[..], more].concat();
    assert_eq!(told("mixed", 9), roots("noops", "vp9", &with(&[8])));
    assert_eq!(told("mixed", 6), roots("noops", "vp6", &with(&[8, 9])));
    assert_eq!(told("rest", 0), roots("noops", "nvp0", &with(&[8])));
}
