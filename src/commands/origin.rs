//! The zone that is specified on the command line.

use anyhow::{Context as _, anyhow};
use hickory_proto::rr::Name;

use crate::{settings, zone::Zone};

/// Parses an origin. The result is absolute and in lower case.
pub fn parse(text: &str) -> anyhow::Result<Name> {
    settings::domain_name(text).with_context(|| {
        format!("`{text}` is not a zone: specify its origin, such as pbft.fabric.internal")
    })
}

/// The zone with this origin.
pub fn find(zones: Vec<Zone>, origin: &Name) -> anyhow::Result<Zone> {
    let known: Vec<String> = zones.iter().map(ToString::to_string).collect();
    let zone = zones.into_iter().find(|zone| zone.origin == *origin);
    zone.ok_or_else(|| {
        anyhow!(
            "no zone file has the origin {origin}: the zones are {}",
            known.join(", ")
        )
    })
}
