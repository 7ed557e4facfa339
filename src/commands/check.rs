//! `paramd check`: everything that is wrong with the files, at once.

use crate::{
    cli::Check,
    server::config::{self, Config},
    zone::{self, Zone},
};

use super::{missing_keys, told};

pub fn run(options: &Check) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let zones = zone::read_directory(&options.zones.zones).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    });
    let config = match &options.config.config {
        Some(path) => config::read(path).map_err(|found| problems.extend(found)),
        None => Ok(Config::default()),
    };
    if let Ok(config) = config {
        problems.extend(missing_keys(&zones, &config.keys));
    }
    if !problems.is_empty() {
        return Err(told(problems));
    }
    for zone in &zones {
        println!("{}: {}", zone.path.display(), described(zone));
    }
    if let Some(path) = &options.config.config {
        println!("{}: no mistakes", path.display());
    }
    Ok(())
}

/// `pbft.fabric.internal, n = 4, f = 1, roles mixed (default), rest, validator`.
fn described(zone: &Zone) -> String {
    let size = match zone.n.zip(zone.f()) {
        Some((n, f)) => format!(", n = {n}, f = {f}"),
        None => String::new(),
    };
    let rules = &zone.rules;
    let default = &rules.role(rules.default_role).name;
    let roles: Vec<String> = rules
        .roles
        .iter()
        .map(|role| match role.name == *default {
            true => format!("{} (default)", role.name),
            false => role.name.clone(),
        })
        .collect();
    format!("{zone}{size}, roles {}", roles.join(", "))
}
