//! `paramd restore`: restores what a store has lost.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    cli::{Restore, StoreKind},
    network::Hostname,
    server::config::Config,
    store::{
        Contents, SERIAL_MARGIN, StoreError,
        backup::RecoveredZone,
        dumps::{Dump, DumpError, Dumps, MissingChecksum},
        local::{self, RestoreError},
    },
    text::counted,
};

#[cfg(feature = "etcd")]
use crate::store::etcd;

use super::{
    check_is_there, config_in, origin, problem_list,
    store::{check_is_not_in_etcd, check_is_not_local},
    with_advice,
};

/// The highest serial that is accepted. No service reaches it, and it leaves room
/// to count on.
const MAX_SERIAL: u64 = 1 << 62;

pub fn run(options: &Restore) -> anyhow::Result<()> {
    let data = &options.data.data;
    match (&options.file, &options.store) {
        (Some(file), StoreKind::Sled) => {
            check_is_not_in_etcd(data)?;
            from_file(file, |origin, contents| {
                local::restore_zone(data, origin, contents).map_err(restore_error)
            })
        }
        (Some(file), StoreKind::Etcd(members)) => {
            check_is_not_local(data)?;
            let config = config_in(&options.config).map_err(problem_list)?;
            from_file(file, |origin, contents| {
                into_etcd(data, members, &config, origin, contents)
            })
        }
        (None, StoreKind::Sled) => {
            check_is_not_in_etcd(data)?;
            from_backup(data)
        }
        (None, StoreKind::Etcd(_)) => bail!(
            "specify a dump: `paramd restore FILE --store etcd://…`; the newest of a zone is in {}",
            Dumps::directory_in(data).display()
        ),
    }
}

/// Restores from the dumps and the journal of the data directory.
fn from_backup(data: &Path) -> anyhow::Result<()> {
    check_is_there(data)?;
    let report = local::restore(data).map_err(restore_error)?;
    if let Some(aside) = &report.aside {
        println!("the damaged store was moved to {}", aside.display());
    }
    let mut incomplete = Vec::new();
    for zone in &report.zones {
        for note in &zone.notes {
            println!("not used: {note}");
        }
        let restored = described(zone);
        if zone.is_whole() {
            println!("{restored}: complete");
        } else {
            incomplete.push(format!(
                "{restored}, which are incomplete: {} cannot be restored",
                zone.missing.join("; ")
            ));
        }
    }
    if incomplete.is_empty() {
        Ok(())
    } else {
        Err(anyhow!(incomplete.join("\nparamd: ")))
    }
}

fn described(zone: &RecoveredZone) -> String {
    let restored = counted_in(&zone.contents);
    let from = match &zone.dump {
        Some(dump) => format!("{} and the journal", dump.path.display()),
        None => "the journal".to_owned(),
    };
    format!("restored {restored} of {} from {from}", zone.origin)
}

/// `3 registrations`, and `3 registrations and 1 pin`.
fn counted_in(contents: &Contents) -> String {
    let registrations = counted(contents.registrations.len(), "registration");
    match contents.pins.len() {
        0 => registrations,
        pins => format!("{registrations} and {}", counted(pins, "pin")),
    }
}

#[cfg_attr(
    not(feature = "etcd"),
    allow(unused_variables, reason = "a build without etcd refuses")
)]
fn into_etcd(
    data: &Path,
    members: &[String],
    config: &Config,
    origin: &str,
    contents: Contents,
) -> anyhow::Result<()> {
    #[cfg(feature = "etcd")]
    {
        let settings = super::store::etcd::settings(members, config);
        let restored = etcd::restore_zone(data, &settings, origin, contents);
        restored.map_err(|error| match error {
            RestoreError::NotEmpty { .. } => anyhow!(
                "{error}: remove its keys with `etcdctl del --prefix {}/1/zones/{origin}/`, or \
                 use another `prefix` in [etcd]",
                config.etcd.prefix
            ),
            error => restore_error(error),
        })
    }
    #[cfg(not(feature = "etcd"))]
    {
        bail!(super::store::LACKING)
    }
}

/// Restores a dump into a store that has nothing of its zone.
fn from_file(
    file: &Path,
    restore: impl FnOnce(&str, Contents) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shown = file.display();
    let bytes = read(file).with_context(|| format!("cannot read {shown}"))?;
    let dump = parse(&bytes, &shown.to_string())?;
    let origin = dump.head.origin.clone();
    let contents = contents(dump);
    let restored = counted_in(&contents);
    restore(&origin, contents)?;
    println!("restored {restored} of {origin}");
    Ok(())
}

/// Reads a dump. Errors call it `shown`.
pub fn parse(bytes: &[u8], shown: &str) -> anyhow::Result<Dump> {
    let dump = Dump::read(bytes, MissingChecksum::Accept).map_err(|error| match error {
        DumpError::NotADump(error) => {
            anyhow!(
                "{shown} is not a dump: create one with `paramd dump ZONE --format json`: {error}"
            )
        }
        DumpError::Checksum => anyhow!(
            "{shown} does not match its checksum: it is damaged; if you have edited it, remove \
             the line with the checksum"
        ),
        error => anyhow!("{shown} cannot be restored: {error}"),
    })?;
    check(&dump).with_context(|| format!("{shown} cannot be restored"))?;
    Ok(dump)
}

/// The contents that a store gets from the dump. The serial continues above every
/// serial that may have been published since.
pub fn contents(dump: Dump) -> Contents {
    let mut contents = dump.contents();
    contents.serial += SERIAL_MARGIN;
    contents
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    fs::read(path)
}

/// Rejects a dump that the service would not start with.
fn check(dump: &Dump) -> anyhow::Result<()> {
    let head = &dump.head;
    if origin::parse(&head.origin)?.to_ascii() != head.origin {
        bail!(
            "`{}` is not an absolute domain name in lower case",
            head.origin
        );
    }
    if head.serial > MAX_SERIAL {
        bail!("its serial {} is too high", head.serial);
    }
    let peers = dump.peers.iter();
    check_unique(peers.map(|peer| (&peer.host, &peer.sequence, peer.number)))?;
    let pins = dump.pins.iter();
    check_unique(pins.map(|pin| (&pin.host, &pin.sequence, pin.number)))
}

/// Rejects hosts and their IDs, each a sequence and a number, of which one occurs twice.
fn check_unique<'d>(
    entries: impl Iterator<Item = (&'d String, &'d String, u32)>,
) -> anyhow::Result<()> {
    let (mut hosts, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (host, sequence, number) in entries {
        let name: Hostname = host
            .parse()
            .with_context(|| format!("`{host}` is not a host name"))?;
        if name.as_str() != host {
            bail!("`{host}` is not in lower case");
        }
        if !hosts.insert(host) {
            bail!("{host} occurs twice");
        }
        if !ids.insert((sequence, number)) {
            bail!("{sequence}{number} occurs twice");
        }
    }
    Ok(())
}

/// Adds advice to an error.
fn restore_error(error: RestoreError) -> anyhow::Error {
    let advice = match error {
        RestoreError::Store(error) if !matches!(error, StoreError::Corrupt { .. }) => {
            return with_advice(error);
        }
        RestoreError::Store(_) => {
            "without FILE, `paramd restore` sets the damaged store aside and restores what the \
             dumps and the journal have; with FILE it fills an empty store"
        }
        RestoreError::NotEmpty { .. } => "restore into an empty data directory",
        RestoreError::NoBackup(_) => "specify a dump: `paramd restore FILE`",
        RestoreError::Unreadable { .. } => {
            "specify a dump from elsewhere: `paramd restore FILE`; or move peers.sled away and start \
             without peers: `paramd serve --new`"
        }
        RestoreError::NothingMissing(_) => return error.into(),
    };
    anyhow!("{error}: {advice}")
}
