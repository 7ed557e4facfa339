//! The link between a namespace and the bridge: down, one way only, closed to some,
//! lossy, or slow.
//!
//! What a node sends is dropped at its port of the bridge, and what it receives at its
//! own interface, so that it never sees an error of its own packet filter.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use crate::common::namespaces::Network;

/// The namespace with the bridge.
const HUB: usize = 0;

/// What is wrong with a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Flaw {
    Down,
    /// Nothing gets out.
    Mute,
    /// Nothing gets in.
    Deaf,
    /// Nothing from or to these addresses passes.
    Closed(Vec<Ipv4Addr>),
    /// This many of 100 packets are lost, each way.
    Lossy(u32),
    /// This many kbit/s pass, each way; what has waited for 2 s is lost.
    Slow(u32),
}

/// Makes a sound link flawed.
pub fn break_link(network: &Network, node: usize, flaw: &Flaw) {
    let port = format!("port{node}");
    match flaw {
        Flaw::Down => {
            network.run(HUB, &["ip", "link", "set", &port, "down"]);
        }
        Flaw::Mute => filter(network, HUB, &port, "drop"),
        Flaw::Deaf => filter(network, node, "eth0", "drop"),
        Flaw::Closed(addresses) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let list = list.join(", ");
            filter(network, HUB, &port, &format!("ip daddr {{ {list} }} drop"));
            filter(
                network,
                node,
                "eth0",
                &format!("ip saddr {{ {list} }} drop"),
            );
        }
        Flaw::Lossy(percent) => {
            let rule = format!("numgen random mod 100 < {percent} drop");
            filter(network, HUB, &port, &rule);
            filter(network, node, "eth0", &rule);
        }
        Flaw::Slow(kbit) => {
            for (host, interface) in [(HUB, &*port), (node, "eth0")] {
                let rate = format!("{kbit}kbit");
                let shape = [
                    "tc", "qdisc", "replace", "dev", interface, "root", "tbf", "rate", &rate,
                    "burst", "3000", "latency", "2s",
                ];
                network.run(host, &shape);
            }
        }
    }
}

/// Makes a link sound, whatever was wrong with it.
pub fn heal_link(network: &Network, node: usize) {
    let port = format!("port{node}");
    network.run(HUB, &["ip", "link", "set", &port, "up"]);
    for (host, interface) in [(HUB, &*port), (node, "eth0")] {
        let table = format!("flaw_{interface}");
        nft(
            network,
            host,
            &format!("add table netdev {table}\ndelete table netdev {table}\n"),
        );
        // It fails if there is none.
        let mut shape = network.command(host, "tc");
        quietly(shape.args(["qdisc", "del", "dev", interface, "root"]));
    }
}

/// Applies a rule to what arrives at an interface.
fn filter(network: &Network, host: usize, interface: &str, rule: &str) {
    let table = format!("flaw_{interface}");
    let chain = format!("type filter hook ingress device \"{interface}\" priority 0;");
    nft(
        network,
        host,
        &format!("table netdev {table} {{\n chain arriving {{\n {chain}\n {rule}\n }}\n}}\n"),
    );
}

fn nft(network: &Network, host: usize, script: &str) {
    let mut child = network
        .command(host, "nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "nft: {script}");
}

fn quietly(command: &mut Command) {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
}
