//! `paramd restore`: fills an empty store from a JSON dump.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
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

pub fn run(options: &Restore) -> anyhow::Result<()> {
    let shown = options.file.display();
    let text = read(&options.file).with_context(|| format!("cannot read {shown}"))?;
    let dump: JsonDump = serde_json::from_str(&text).with_context(|| {
        format!("{shown} is no dump: make one with `paramd dump ZONE --format json`")
    })?;
    check(&dump).with_context(|| format!("{shown} cannot be restored"))?;
    let mut store = SledStore::open(&options.data.data)?;
    let there = store.load(&dump.origin)?.registrations.len();
    if there > 0 {
        bail!(
            "{} has {there} registrations of {} already: restore into an empty data directory",
            options.data.data.display(),
            dump.origin
        );
    }
    let origin = dump.origin.clone();
    let serial = Write::Serial {
        origin: origin.clone(),
        serial: dump.serial + SERIALS_LATER,
    };
    let peers = dump.peers.len();
    let puts = dump.peers.into_iter().map(|registration| Write::Put {
        origin: origin.clone(),
        registration,
    });
    // All or nothing: one commit.
    let writes: Vec<Write> = std::iter::once(serial).chain(puts).collect();
    store.commit(&writes)?;
    println!("restored {peers} registrations of {origin}");
    Ok(())
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
    let mut hosts = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for peer in &dump.peers {
        let host: Hostname = peer
            .host
            .parse()
            .with_context(|| format!("`{}` is no host", peer.host))?;
        if host.as_str() != peer.host {
            bail!("`{}` is not in small letters", peer.host);
        }
        if !hosts.insert(&peer.host) {
            bail!("{} is there twice", peer.host);
        }
        if !ids.insert((&peer.sequence, peer.number)) {
            bail!("{}{} is there twice", peer.sequence, peer.number);
        }
    }
    Ok(())
}
