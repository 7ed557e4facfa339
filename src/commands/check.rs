//! `paramd check`: reports everything that is wrong with the files at once.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use crate::{
    cli::{Check, StoreKind},
    registry,
    server::config::Config,
    settings::Problem,
    store::{Contents, LocalStore, Store as _, StoreError, backup::Backup, local},
    text::counted,
    zone::{self, Zone},
};

#[cfg(feature = "etcd")]
use crate::store::dumps::{Dumps, SoundDump};

#[cfg(feature = "etcd")]
use super::store::{check_is_not_local, etcd::stored_in_etcd, lost::lost_zones};
use super::{
    check_is_there, config_in, fail_on_any, missing_keys, store::check_is_not_in_etcd, with_advice,
};

pub fn run(options: &Check) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let zones = zone::read_directory(&options.zones.zones).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    });
    let config = config_in(&options.config).unwrap_or_else(|found| {
        problems.extend(found);
        Config::default()
    });
    if problems.is_empty() {
        problems.extend(missing_keys(&zones, &config.keys));
    }
    fail_on_any(problems)?;
    for zone in &zones {
        println!("{}: {}", zone.path.display(), described(zone));
    }
    if let Some(path) = &options.config.config {
        println!("{}: OK", path.display());
        warn_of_refused_health_checks(path, &config);
    }
    let data = options.data.as_deref();
    match (data, &options.store) {
        (data, Some(StoreKind::Etcd(members))) => check_etcd(data, members, &config, &zones),
        (Some(data), _) => {
            check_is_there(data)?;
            check_is_not_in_etcd(data)?;
            check_data(data, &zones)
        }
        (None, _) => Ok(()),
    }
}

/// Reports every registration in etcd that does not fit, and which zones etcd has lost
/// according to the dumps in the data directory.
#[cfg_attr(
    not(feature = "etcd"),
    allow(unused_variables, reason = "a build without etcd refuses")
)]
fn check_etcd(
    data: Option<&Path>,
    members: &[String],
    config: &Config,
    zones: &[Zone],
) -> anyhow::Result<()> {
    #[cfg(feature = "etcd")]
    {
        if let Some(data) = data {
            check_is_there(data)?;
            check_is_not_local(data)?;
        }
        let stored = stored_in_etcd(members, config)?;
        let place = format!("etcd://{}", members.join(","));
        let mut problems = Vec::new();
        for zone in zones {
            let contents = stored.get(&zone.origin_text()).cloned();
            problems.extend(fitting(zone, contents.unwrap_or_default(), &place));
        }
        let Some(data) = data else {
            return fail_on_any(problems);
        };
        let identity = Dumps::network_in(data).unwrap_or_default();
        let dumps = Dumps::new(data, identity);
        let serial = |origin: &str| stored.get(origin).map_or(0, |zone| zone.serial);
        for zone in lost_zones(&dumps, serial) {
            let message = format!("it has {}", zone.described());
            problems.push(Problem::new(Path::new(&place), None, message));
        }
        for origin in dumps.origins() {
            let newest = dumps.newest_sound(&origin);
            for problem in newest.problems {
                println!("{problem}");
            }
            if let Some(SoundDump { generation, head }) = newest.sound {
                let made = head.made.map(|made| format!(", of {made}"));
                println!(
                    "the newest dump of {origin} here is {}{}",
                    generation.path.display(),
                    made.unwrap_or_default()
                );
            }
        }
        fail_on_any(problems)
    }
    #[cfg(not(feature = "etcd"))]
    {
        anyhow::bail!(super::store::LACKING)
    }
}

/// What does not fit the zone, if anything; otherwise prints that all fit.
fn fitting(zone: &Zone, contents: Contents, place: &str) -> Vec<Problem> {
    let count = contents.registrations.len();
    let misfits = registry::misfits(zone, contents);
    if misfits.is_empty() {
        let registrations = counted(count, "registration");
        let fit = if count == 1 { "fits" } else { "fit" };
        println!("{place}: {registrations} of {zone} {fit}");
    }
    let misfits = misfits.into_iter();
    let problems = misfits.map(|misfit| Problem::new(&zone.path, None, misfit.to_string()));
    problems.collect()
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
    let roles = rules.roles.iter().map(|role| match &role.name {
        name if name == default => format!("{name} (default)"),
        name => name.clone(),
    });
    let roles: Vec<String> = roles.collect();
    format!("{zone}{size}, roles {}", roles.join(", "))
}

/// Reports every registration that does not fit, and the state of the dumps and
/// the journal.
fn check_data(data: &Path, zones: &[Zone]) -> anyhow::Result<()> {
    // The dumps and the journal hold the same if a service is running on the directory,
    // the directory is not writable, or there is no database.
    let mut store = match local::open_to_look(data) {
        Ok(store) => store,
        Err(StoreError::Locked { .. } | StoreError::Unusable { .. }) => None,
        Err(error) => return Err(with_advice(error)),
    };
    let backup = local::backup_in(data)?;
    for problem in backup.problems() {
        println!("{problem}");
    }
    let mut problems = Vec::new();
    for zone in zones {
        let contents = contents(store.as_mut(), &backup, zone)?;
        problems.extend(fitting(zone, contents, &data.display().to_string()));
    }
    fail_on_any(problems)
}

/// The stored contents of a zone. Also reports whether its backup is complete.
fn contents(
    store: Option<&mut LocalStore>,
    backup: &Backup,
    zone: &Zone,
) -> anyhow::Result<Contents> {
    let origin = zone.origin_text();
    let restored = backup.zone(&origin);
    for note in &restored.notes {
        println!("{note}");
    }
    let dump = restored.dump.as_ref();
    let from = dump.map_or("no dump".to_owned(), |dump| dump.path.display().to_string());
    if restored.is_whole() {
        println!("the backup of {zone} is complete: {from} and the journal");
    } else {
        println!(
            "the backup of {zone} ({from} and the journal) lacks {}",
            restored.missing.join("; ")
        );
    }
    match store {
        Some(store) => Ok(store.load(&origin)?),
        None => Ok(restored.contents),
    }
}
