//! The networks and the random histories.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use param_daemon::network::{
    Holder, Hostname, Peer, Role, RoleRule, Rules, Sequence, SequenceRule, StoredPeer,
};
use proptest::prelude::*;

pub const LEASE: u64 = 30_000;

pub const RECLAIM: u64 = 300_000;

/// More numbers than are ever needed.
pub const NO_LIMIT: u32 = u32::MAX;

pub fn rules(limit: u32, start: u32, reclaim: bool) -> Arc<Rules> {
    let sequence = |name: &str, start, limit| SequenceRule {
        name: name.into(),
        start,
        limit,
    };
    let role = |name: &str, sequence| RoleRule {
        name: name.into(),
        sequence: Sequence(sequence),
    };
    Arc::new(Rules {
        lease: Duration::from_millis(LEASE),
        reclaim: reclaim.then(|| Duration::from_millis(RECLAIM)),
        roots: 3,
        sequences: vec![sequence("vp", start, limit), sequence("nvp", 0, NO_LIMIT)],
        roles: vec![role("mixed", 0), role("validator", 0), role("rest", 1)],
        default_role: Role(0),
        root_sequence: Sequence(0),
    })
}

#[derive(Debug, Clone)]
pub enum Step {
    Register {
        host: u8,
        role: Option<u16>,
        asker: u8,
    },
    /// A heartbeat of the current holder, on the path without a lock.
    Heartbeat {
        host: u8,
    },
    Leave {
        host: u8,
        asker: u8,
    },
    Release {
        host: u8,
    },
    Pin {
        host: u8,
        sequence: u16,
        number: u32,
    },
    Unpin {
        host: u8,
    },
    Pass {
        milliseconds: u64,
    },
    SetBack {
        milliseconds: u64,
    },
    Restart,
    /// The service stands still, and continues.
    StandStill {
        milliseconds: u64,
    },
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..12, prop::option::weighted(0.3, 0u16..3), 0u8..24)
            .prop_map(|(host, role, asker)| Step::Register { host, role, asker }),
        6 => (0u8..12).prop_map(|host| Step::Heartbeat { host }),
        2 => (0u8..12, 0u8..24).prop_map(|(host, asker)| Step::Leave { host, asker }),
        1 => (0u8..12).prop_map(|host| Step::Release { host }),
        1 => (0u8..12, 0u16..2, 0u32..8)
            .prop_map(|(host, sequence, number)| Step::Pin { host, sequence, number }),
        1 => (0u8..12).prop_map(|host| Step::Unpin { host }),
        6 => prop_oneof![0u64..100, 1_000u64..15_000, LEASE..2 * RECLAIM]
            .prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => (0u64..RECLAIM).prop_map(|milliseconds| Step::SetBack { milliseconds }),
        1 => Just(Step::Restart),
        1 => (0u64..2 * RECLAIM).prop_map(|milliseconds| Step::StandStill { milliseconds }),
    ];
    prop::collection::vec(step, 1..2_000)
}

/// Askers `2 k` and `2 k + 1` share an address, every third of which is IPv6; `k`
/// and `k + 12` share a source.
pub fn holder(asker: u8) -> Holder {
    let ip = |network, host| Ipv4Addr::new(10, network, 0, host);
    let address = ip(2, asker / 2);
    Holder {
        source: ip(1, asker % 12).into(),
        address: match asker / 2 % 3 {
            0 => address.to_ipv6_mapped().into(),
            _ => address.into(),
        },
    }
}

pub fn stored(peer: &Peer) -> StoredPeer {
    StoredPeer {
        host: peer.host.clone(),
        id: peer.id,
        role: peer.role,
        holder: peer.holder,
        epoch: peer.epoch,
    }
}

pub fn hostname(host: u8) -> Hostname {
    format!("peer-{host}").parse().unwrap()
}
