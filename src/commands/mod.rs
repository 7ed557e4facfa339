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
mod origin;
mod transfer;

use std::{fs, io, net::SocketAddr, path::Path};

use anyhow::{Context as _, anyhow};

use crate::{
    cli::Place,
    settings::Problem,
    store::{SledStore, StoreError},
    zone::{self, Zone},
};

/// The file in the data directory that says where its server answers.
const ADDRESS_FILE: &str = "address";

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

/// Where the tools find registrations.
enum Registrations {
    /// The server that runs.
    Server(SocketAddr),
    /// The store of a server that does not.
    Store(Box<SledStore>),
}

/// The server that was named; else the data directory; else, where a server
/// runs on that, this server.
fn registrations(place: &Place) -> anyhow::Result<Registrations> {
    if let Some(server) = place.server {
        return Ok(Registrations::Server(server));
    }
    let data = &place.data.data;
    match stored(data) {
        Ok(store) => Ok(Registrations::Store(Box::new(store))),
        Err(error) => match error.downcast_ref::<StoreError>() {
            Some(StoreError::Locked { .. }) => running_on(data).map(Registrations::Server),
            _ => Err(error),
        },
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
