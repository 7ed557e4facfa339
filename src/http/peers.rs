//! The gauges of the networks, which Prometheus collects from the published state.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{network::Sequence, registry::Registry, zone::ZoneView};

/// The networks of the registry.
pub struct Peers(pub Registry);

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

/// A gauge of each sequence of a zone.
struct BySequence {
    name: &'static str,
    help: &'static str,
    value: fn(&ZoneView, Sequence) -> u64,
}

/// A gauge of each zone.
struct ByZone {
    name: &'static str,
    help: &'static str,
    /// `None` for a zone that has no such value.
    value: fn(&ZoneView) -> Option<u64>,
}

const BY_SEQUENCE: [BySequence; 3] = [
    BySequence {
        name: "paramd_peers",
        help: "Registered peers",
        value: |view, sequence| view.network.len_of(sequence) as u64,
    },
    BySequence {
        name: "paramd_live_peers",
        help: "Registered peers with a running lease",
        value: |view, sequence| view.network.live_len_of(sequence) as u64,
    },
    BySequence {
        name: "paramd_free_numbers",
        help: "Numbers that no host has or is to have",
        value: |view, sequence| {
            let limit = u64::from(view.zone.rules.sequence(sequence).limit);
            limit.saturating_sub(view.network.len_of(sequence) as u64)
        },
    },
];

const BY_ZONE: [ByZone; 3] = [
    ByZone {
        name: "paramd_network_size",
        help: "The number of replicas n of the network, as its zone file sets it",
        value: |view| view.zone.n.map(u64::from),
    },
    ByZone {
        name: "paramd_network_faults_tolerated",
        help: "The number of Byzantine faults f that the network tolerates",
        value: |view| view.zone.f().map(u64::from),
    },
    ByZone {
        name: "paramd_zone_serial",
        help: "The serial of the zone",
        value: |view| Some(view.network.revision()),
    },
];

impl Collector for Peers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let views: Vec<_> = self.0.zones().iter().map(|zone| zone.view()).collect();
        for BySequence { name, help, value } in &BY_SEQUENCE {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &views {
                for (place, rule) in view.zone.rules.sequences.iter().enumerate() {
                    let labels = [
                        ("zone", view.zone.to_string()),
                        ("sequence", rule.name.clone()),
                    ];
                    let gauge = ConstGauge::new(value(view, Sequence(place as u16)));
                    gauge.encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        for ByZone { name, help, value } in &BY_ZONE {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &views {
                if let Some(value) = value(view) {
                    let labels = [("zone", view.zone.to_string())];
                    ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
