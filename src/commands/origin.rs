//! The zone that a command line names.

use anyhow::{Context as _, anyhow};
use hickory_proto::rr::Name;

use crate::zone::Zone;

/// An origin as it is written on a command line: absolute, in lower case.
pub fn parse(text: &str) -> anyhow::Result<Name> {
    let mut name = Name::from_ascii(text)
        .ok()
        .filter(|name| !name.is_root())
        .with_context(|| {
            format!("`{text}` is no zone: name its origin, such as pbft.fabric.internal")
        })?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// The zone of that origin.
pub fn find(zones: Vec<Zone>, origin: &Name) -> anyhow::Result<Zone> {
    let known: Vec<String> = zones.iter().map(ToString::to_string).collect();
    let zone = zones.into_iter().find(|zone| zone.origin == *origin);
    zone.ok_or_else(|| {
        anyhow!(
            "no zone file has the origin {origin}: there are {}",
            known.join(", ")
        )
    })
}
