//! Renders the environments of a zone before any peer requests them.
//!
//! Some mistakes in a template appear only when it is rendered: an attribute that does
//! not exist, a filter for another type, a value that is too long. So the environment of
//! each role is rendered for the first and the last number of its sequence, without and
//! with root nodes, since templates have branches.

use std::net::{IpAddr, Ipv4Addr};

use super::Zone;
use crate::{
    network::{Holder, Hostname, Lease, Network, Peer, PeerId, Role, Time},
    params::RenderError,
};

/// The address of the service, from a range for documentation (RFC 5737).
const SERVER: IpAddr = address(1);

/// The variables that cannot be rendered, each with the role of its environment.
pub(super) fn errors(zone: &Zone) -> Vec<(Role, RenderError)> {
    let networks = [Network::new(zone.rules.clone(), 1), with_root_nodes(zone)];
    let mut errors = Vec::new();
    for place in 0..zone.rules.roles.len() {
        let role = Role(place as u16);
        let sequence = zone.rules.role(role).sequence;
        let rule = zone.rules.sequence(sequence);
        for number in [rule.start, rule.start + (rule.limit - 1)] {
            let Some(peer) = peer(PeerId { sequence, number }, role) else {
                continue;
            };
            for network in &networks {
                let rendered = zone.variables(network, &peer, SERVER);
                errors.extend(rendered.err().map(|error| (role, error)));
            }
        }
    }
    errors
}

fn peer(id: PeerId, role: Role) -> Option<Peer> {
    Some(Peer {
        host: "host".parse().ok()?,
        id,
        role,
        holder: holder(2),
        epoch: 1,
        lease: Lease::granted(Time::default()),
    })
}

/// A network with one more root node than an answer names.
fn with_root_nodes(zone: &Zone) -> Network {
    let mut network = Network::new(zone.rules.clone(), 1);
    let mut roles = (0..zone.rules.roles.len()).map(|place| Role(place as u16));
    let role = roles.find(|role| zone.rules.role(*role).sequence == zone.rules.root_sequence);
    for number in 0..=zone.rules.roots as u8 {
        if let Ok(host) = format!("host-{number}").parse::<Hostname>() {
            let holder = holder(3 + number);
            // A small sequence may be full before, which does not matter.
            let _ = network.register(Time::default(), &host, role, holder, &mut vec![]);
        }
    }
    network
}

fn holder(last: u8) -> Holder {
    Holder {
        source: address(last),
        address: address(last),
    }
}

const fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}
