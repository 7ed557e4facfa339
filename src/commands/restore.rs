//! `paramd restore`: brings back what a store has lost.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    cli::Restore,
    network::Hostname,
    store::{
        Contents, SERIALS_LATER, StoreError,
        chain::Restored,
        dumps::{Dump, DumpError, Unchecked},
        local::{self, RestoreError},
    },
};

use super::{advised, check_is_there, origin};

/// No service gets that far; above it there would be no room to count on.
const MOST_SERIALS: u64 = 1 << 62;

pub fn run(options: &Restore) -> anyhow::Result<()> {
    match &options.file {
        Some(file) => from_file(file, &options.data.data),
        None => from_backup(&options.data.data),
    }
}

/// From the dumps and the journal of the data directory.
fn from_backup(data: &Path) -> anyhow::Result<()> {
    check_is_there(data)?;
    let report = local::restore(data).map_err(explained)?;
    if let Some(aside) = &report.aside {
        println!("the damaged store is {}", aside.display());
    }
    let mut incomplete = Vec::new();
    for (origin, zone) in &report.zones {
        for note in &zone.notes {
            println!("not used: {note}");
        }
        let restored = described(origin, zone);
        match zone.is_whole() {
            true => println!("{restored}: everything that was answered"),
            false => incomplete.push(format!(
                "{restored}, but not everything that was answered: {} cannot be brought back",
                zone.missing.join("; ")
            )),
        }
    }
    match incomplete.is_empty() {
        true => Ok(()),
        false => Err(anyhow!(incomplete.join("\nparamd: "))),
    }
}

fn described(origin: &str, zone: &Restored) -> String {
    let peers = zone.contents.registrations.len();
    let from = match &zone.dump {
        Some(dump) => format!("{} and the journal", dump.path.display()),
        None => "the journal".to_owned(),
    };
    format!("restored {peers} registrations of {origin} from {from}")
}

/// From one dump, into a store that has nothing of its zone.
fn from_file(file: &Path, data: &Path) -> anyhow::Result<()> {
    let shown = file.display();
    let octets = read(file).with_context(|| format!("cannot read {shown}"))?;
    let dump = parse(&octets, &shown.to_string())?;
    let origin = dump.head.origin.clone();
    let contents = contents(dump);
    let peers = contents.registrations.len();
    local::restore_zone(data, &origin, contents).map_err(explained)?;
    println!("restored {peers} registrations of {origin}");
    Ok(())
}

/// Reads a dump; `shown` is what errors call it.
pub fn parse(octets: &[u8], shown: &str) -> anyhow::Result<Dump> {
    let dump = Dump::read(octets, Unchecked::Taken).map_err(|error| match error {
        DumpError::NoDump(error) => {
            anyhow!("{shown} is no dump: make one with `paramd dump ZONE --format json`: {error}")
        }
        DumpError::Checksum => anyhow!(
            "{shown} does not fit its checksum: it is damaged; or, if you have edited it, take \
             the line with the checksum out"
        ),
        error => anyhow!("{shown} cannot be restored: {error}"),
    })?;
    check(&dump).with_context(|| format!("{shown} cannot be restored"))?;
    Ok(dump)
}

/// What fills a store with the dump. Its serial goes on above all that were
/// published since.
pub fn contents(dump: Dump) -> Contents {
    let mut contents = dump.contents();
    contents.serial += SERIALS_LATER;
    contents
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut octets = Vec::new();
        io::stdin().read_to_end(&mut octets)?;
        return Ok(octets);
    }
    fs::read(path)
}

/// What the service would not start with.
fn check(dump: &Dump) -> anyhow::Result<()> {
    let head = &dump.head;
    if origin::parse(&head.origin)?.to_ascii() != head.origin {
        bail!(
            "`{}` is not written as an origin is: absolute, in small letters",
            head.origin
        );
    }
    if head.serial > MOST_SERIALS {
        bail!("its serial is {}, which no zone reaches", head.serial);
    }
    let peers = dump.peers.iter();
    let peers: Vec<_> = peers
        .map(|it| (&it.host, &it.sequence, it.number))
        .collect();
    let pins = dump.pins.iter();
    let pins: Vec<_> = pins.map(|it| (&it.host, &it.sequence, it.number)).collect();
    check_once(&peers)?;
    check_once(&pins)
}

/// That each host is there once, and each ID.
fn check_once(ids: &[(&String, &String, u32)]) -> anyhow::Result<()> {
    let mut hosts = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for (host, sequence, number) in ids {
        let name: Hostname = host
            .parse()
            .with_context(|| format!("`{host}` is no host"))?;
        if name.as_str() != *host {
            bail!("`{host}` is not in small letters");
        }
        if !hosts.insert(host) {
            bail!("{host} is there twice");
        }
        if !taken.insert((sequence, number)) {
            bail!("{sequence}{number} is there twice");
        }
    }
    Ok(())
}

/// The error, and what to do about it.
fn explained(error: RestoreError) -> anyhow::Error {
    let advice = match &error {
        RestoreError::Store(StoreError::Corrupt { .. }) => {
            "without FILE, `paramd restore` sets the damaged store aside and brings back what the \
             dumps and the journal have; with FILE it fills an empty one"
        }
        RestoreError::NotEmpty { .. } => "restore into an empty data directory",
        RestoreError::NoBackup(_) => "name a dump: `paramd restore FILE`",
        RestoreError::Unreadable { .. } => {
            "name a dump of elsewhere: `paramd restore FILE`; or move peers.sled away and begin \
             anew with `paramd serve --new`"
        }
        RestoreError::NothingMissing(_) => return error.into(),
        RestoreError::Store(_) => match error {
            RestoreError::Store(error) => return advised(error),
            error => return error.into(),
        },
    };
    anyhow!("{error}: {advice}")
}
