//! One file a command. Each reads its options, does its work and gives an error
//! that says in one line what to do; `main` prints it.

pub mod check;
pub mod dump;
pub mod health;
pub mod peers;
pub mod release;
pub mod restore;
pub mod serve;

mod backup;
mod client;
mod origin;
mod transfer;

use std::{fs, io, net::SocketAddr, path::Path};

use anyhow::{Context as _, anyhow};

use crate::{
    cli::Place,
    keys::{self, Key},
    server::tsig::Keys,
    settings::Problem,
    store::{SledStore, StoreError},
    zone::{self, Zone},
};

use self::client::Client;

/// The file in the data directory that says where its server answers.
const ADDRESS_FILE: &str = "address";

/// The text as a terminal may have it: what a server says may hold sequences that a
/// terminal obeys. Line feeds are ours.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() && character != '\n' {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}

/// Whether the error is that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Problems in files, one line each.
fn told(problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\nparamd: "))
}

fn zones_in(directory: &Path) -> anyhow::Result<Vec<Zone>> {
    zone::read_directory(directory).map_err(told)
}

/// What is wrong where zone files name keys that the configuration has not.
fn missing_keys(zones: &[Zone], keys: &Keys) -> Vec<Problem> {
    let demands = zones
        .iter()
        .filter_map(|zone| Some((zone, zone.register_keys.as_ref()?)));
    let missing = demands.flat_map(|(zone, demanded)| {
        let unknown = demanded.names.iter().filter(|name| !keys.has(name));
        unknown.map(|name| Problem {
            path: zone.path.clone(),
            line: Some(demanded.line),
            message: keys::unknown(name),
        })
    });
    missing.collect()
}

/// Where the tools find registrations.
enum Registrations {
    /// The server that runs.
    Server(Client),
    /// The store of a server that does not.
    Store(Box<SledStore>),
}

/// The server that was named; else the data directory; else, where a server
/// runs on that, this server.
fn registrations(place: &Place) -> anyhow::Result<Registrations> {
    let server = |server| {
        let key = place.key.as_deref().map(key_in).transpose()?;
        Ok(Registrations::Server(Client { server, key }))
    };
    if let Some(address) = place.server {
        return server(address);
    }
    let data = &place.data.data;
    match stored(data) {
        Ok(store) => Ok(Registrations::Store(Box::new(store))),
        Err(error) => match error.downcast_ref::<StoreError>() {
            Some(StoreError::Locked { .. }) => server(running_on(data)?),
            _ => Err(error),
        },
    }
}

/// The key of a file that has one.
fn key_in(path: &Path) -> anyhow::Result<Key> {
    let mut keys = keys::read(path).map_err(told)?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(anyhow!(
            "{} has several keys: give a file with the one to sign with",
            path.display()
        )),
    }
}

/// The store of a data directory that is there.
fn stored(data: &Path) -> anyhow::Result<SledStore> {
    if !data.is_dir() {
        return Err(anyhow!(
            "there is no data directory {}: name it with --data, or a running server with --server",
            data.display()
        ));
    }
    Ok(SledStore::open(data)?)
}

/// The address of the server that runs on the data directory.
fn running_on(data: &Path) -> anyhow::Result<SocketAddr> {
    let path = data.join(ADDRESS_FILE);
    fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| {
            format!(
                "a server runs on {}, but {} does not say where: name it with --server",
                data.display(),
                path.display()
            )
        })
}
