//! `paramd check`: everything that is wrong with the files, at once.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use crate::{
    cli::Check,
    registry,
    server::config::{self, Config},
    settings::Problem,
    store::{Contents, LocalStore, Store as _, StoreError, chain::Chain, local},
    zone::{self, Zone},
};

use super::{advised, check_is_there, missing_keys, told};

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
    if let Ok(config) = &config {
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
        if let Ok(config) = &config {
            warn_of_refused_health_checks(path, config);
        }
    }
    match &options.data {
        Some(data) => check_data(data, &zones),
        None => Ok(()),
    }
}

/// `paramd health` on the data directory goes by the control socket, which no list
/// closes. One that asks by DNS is refused as anybody else is.
fn warn_of_refused_health_checks(path: &Path, config: &Config) {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    if !config.access.query.allows(loopback, None) {
        eprintln!(
            "{}: warning: `query` in [access] does not allow {loopback}: a health check that asks \
             by DNS is refused on this machine, `paramd health --server` among them; without \
             --server, `paramd health` passes",
            path.display()
        );
    }
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

/// What is stored.
enum Registrations {
    Store(Box<LocalStore>),
    /// A service runs on the directory, or it may not be written, or there is no
    /// database: dumps and journal have the same.
    Backup,
}

/// Names every registration that does not fit, and says what dumps and journal
/// have.
fn check_data(data: &Path, zones: &[Zone]) -> anyhow::Result<()> {
    check_is_there(data)?;
    let mut registrations = match local::open_to_look(data) {
        Ok(None) => Registrations::Backup,
        Ok(Some(store)) => Registrations::Store(Box::new(store)),
        Err(StoreError::Locked { .. } | StoreError::Unusable { .. }) => Registrations::Backup,
        Err(error) => return Err(advised(error)),
    };
    let backup = local::backup_in(data)?;
    for problem in backup.problems() {
        println!("{problem}");
    }
    let mut problems = Vec::new();
    for zone in zones {
        let contents = contents(&mut registrations, &backup, zone)?;
        let stored = contents.registrations.len();
        let misfits = registry::misfits(zone, contents);
        if misfits.is_empty() {
            println!(
                "{}: the {stored} registrations of {zone} fit",
                data.display()
            );
        }
        problems.extend(misfits.into_iter().map(|misfit| Problem {
            path: zone.path.clone(),
            line: None,
            message: misfit.to_string(),
        }));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(told(problems)),
    }
}

/// What is stored of a zone; says how well it is backed up.
fn contents(
    registrations: &mut Registrations,
    backup: &Chain,
    zone: &Zone,
) -> anyhow::Result<Contents> {
    let origin = zone.origin_text();
    let restored = backup.zone(&origin);
    for note in &restored.notes {
        println!("{note}");
    }
    let path = restored.dump.as_ref().map(|dump| dump.path.display());
    let from = path.map_or("no dump".to_owned(), |path| path.to_string());
    match restored.is_whole() {
        true => println!("the backup of {zone} has everything: {from}, and the journal"),
        false => println!(
            "the backup of {zone} lacks {}: {from}, and the journal",
            restored.missing.join("; ")
        ),
    }
    match registrations {
        Registrations::Store(store) => Ok(store.load(&origin)?),
        Registrations::Backup => Ok(restored.contents),
    }
}
