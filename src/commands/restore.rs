//! `paramd restore`: fills an empty store from a JSON dump.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};

use crate::{
    cli::Restore,
    network::Hostname,
    store::{SledStore, Store, Write},
};

use super::{
    dump::{JsonDump, VERSION},
    origin,
};

/// How far the serial goes on above that of the dump: further than the service
/// that was dumped can have counted since.
const SERIALS_LATER: u64 = 1 << 20;

/// No service gets that far; above it there would be no room to count on.
const MOST_SERIALS: u64 = 1 << 62;

pub fn run(options: &Restore) -> anyhow::Result<()> {
    let shown = options.file.display();
    let text = read(&options.file).with_context(|| format!("cannot read {shown}"))?;
    let dump = parse(&text, &shown.to_string())?;
    let mut store = SledStore::open(&options.data.data)?;
    let there = store.load(&dump.origin)?;
    let there = there.registrations.len() + there.pins.len();
    if there > 0 {
        bail!(
            "{} has {there} registrations of {} already: restore into an empty data directory",
            options.data.data.display(),
            dump.origin
        );
    }
    // All or nothing: one commit.
    store.commit(&writes(&dump))?;
    let (peers, origin) = (dump.peers.len(), &dump.origin);
    println!("restored {peers} registrations of {origin}");
    Ok(())
}

/// Reads the text of a dump; `shown` is what errors call it.
pub fn parse(text: &str, shown: &str) -> anyhow::Result<JsonDump> {
    let dump: JsonDump = serde_json::from_str(text).with_context(|| {
        format!("{shown} is no dump: make one with `paramd dump ZONE --format json`")
    })?;
    check(&dump).with_context(|| format!("{shown} cannot be restored"))?;
    Ok(dump)
}

/// What fills a store with the dump.
pub fn writes(dump: &JsonDump) -> Vec<Write> {
    let origin: Arc<str> = dump.origin.as_str().into();
    let serial = Write::Serial {
        origin: origin.clone(),
        serial: dump.serial + SERIALS_LATER,
    };
    let puts = dump.peers.iter().map(|registration| Write::Put {
        origin: origin.clone(),
        registration: registration.clone(),
    });
    let pins = dump.pins.iter().map(|pin| Write::Pin {
        origin: origin.clone(),
        pin: pin.clone(),
    });
    std::iter::once(serial).chain(puts).chain(pins).collect()
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

/// What the service would not start with.
fn check(dump: &JsonDump) -> anyhow::Result<()> {
    if dump.version != VERSION {
        bail!("its version is {}, not {VERSION}", dump.version);
    }
    if origin::parse(&dump.origin)?.to_ascii() != dump.origin {
        bail!(
            "`{}` is not written as an origin is: absolute, in small letters",
            dump.origin
        );
    }
    if dump.serial > MOST_SERIALS {
        bail!("its serial is {}, which no zone reaches", dump.serial);
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
