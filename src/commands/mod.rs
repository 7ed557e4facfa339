//! One file for each command. Each reads its options, does its work, and returns
//! an error of one line that says what to do; `main` prints it.

pub mod check;
pub mod dump;
pub mod health;
pub mod peers;
pub mod release;
pub mod restore;
pub mod serve;

mod client;
mod dumper;
mod origin;
mod store;
mod transfer;

use std::{fs, io, net::SocketAddr, path::Path};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    cli::{self, Source},
    keys::{self, Key},
    server::config::{self, Config, keys::Keys},
    settings::Problem,
    store::{
        self as stores, LocalStore, Store, StoreError,
        local::{self, OpenMode},
    },
    zone::{self, Zone},
};

use self::client::Client;

/// The file in the data directory that contains the address of its server.
const ADDRESS_FILE: &str = "address";

/// Escapes control characters and invisible ones, since text from a server may
/// contain sequences that the terminal interprets, or that change the direction of
/// writing. Line feeds are our own.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '"' | '\'' | '\\' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}

/// Whether the error is that the reader of our output has gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with one line for each problem.
fn problem_list(problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\nparamd: "))
}

fn fail_on_any(problems: Vec<Problem>) -> anyhow::Result<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problem_list(problems))
    }
}

fn zones_in(directory: &Path) -> anyhow::Result<Vec<Zone>> {
    zone::read_directory(directory).map_err(problem_list)
}

/// Reads the configuration file, if there is one.
fn config_in(options: &cli::Config) -> Result<Config, Vec<Problem>> {
    let path = options.config.as_deref();
    path.map_or_else(|| Ok(Config::default()), config::read)
}

/// The keys that zone files require and the configuration does not define.
fn missing_keys(zones: &[Zone], keys: &Keys) -> Vec<Problem> {
    let mut missing = Vec::new();
    for zone in zones {
        let Some(demanded) = &zone.register_keys else {
            continue;
        };
        for name in &demanded.names {
            if keys.get(name).is_none() {
                let message = keys::unknown(name);
                missing.push(Problem::new(&zone.path, Some(demanded.line), message));
            }
        }
    }
    missing
}

/// Where a command finds the registrations.
enum Registrations {
    /// In the running server.
    Server(Client),
    /// In the store of a server that is not running.
    Store(Box<LocalStore>),
}

/// The specified server; or else the data directory, or the server that is
/// running on it.
fn registrations(source: &Source) -> anyhow::Result<Registrations> {
    let server = |server| {
        let key = source.key.as_deref().map(key_in).transpose()?;
        Ok(Registrations::Server(Client { server, key }))
    };
    if let Some(address) = source.server {
        return server(address);
    }
    let data = &source.data.data;
    check_is_there(data)?;
    if stores::is_in_etcd(data) {
        let running = running_on(data).map_err(|_| {
            anyhow!(
                "the registrations of {} are in etcd, and no service has answered there: specify \
                 a running server with --server",
                data.display()
            )
        });
        return server(running?);
    }
    if local::is_empty(data) {
        bail!(
            "there is no store in {}: specify the data directory with --data, or a running server \
             with --server",
            data.display()
        );
    }
    match LocalStore::open(data, OpenMode::Tool) {
        Ok(store) => Ok(Registrations::Store(Box::new(store))),
        Err(StoreError::Locked { .. }) => server(running_on(data)?),
        Err(error) => Err(with_advice(error)),
    }
}

/// The only key of a file.
fn key_in(path: &Path) -> anyhow::Result<Key> {
    let mut keys = keys::read(path).map_err(problem_list)?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => bail!(
            "{} contains several keys: specify a file with only the one to sign with",
            path.display()
        ),
    }
}

/// Fails if the data directory does not exist: commands do not create it.
fn check_is_there(data: &Path) -> anyhow::Result<()> {
    if !data.is_dir() {
        bail!(
            "there is no data directory {}: specify one with --data, or a running server with --server",
            data.display()
        );
    }
    Ok(())
}

/// Fails if nothing is stored for a zone, and reports for which zones there is.
fn check_is_stored(store: &mut dyn Store, origin: &str) -> anyhow::Result<()> {
    let contents = store.load(origin)?;
    if contents.serial > 0 || contents.names_peers() {
        return Ok(());
    }
    let origins = store.origins()?.join(", ");
    if origins.is_empty() {
        bail!("nothing is stored for {origin}, and no other zone has peers");
    }
    bail!("nothing is stored for {origin}; there are peers of {origins}");
}

/// Adds advice to the error of a store. Following the advice does no harm, in any
/// order, and while a supervisor keeps restarting the service.
fn with_advice(error: StoreError) -> anyhow::Error {
    let advice = match &error {
        StoreError::Corrupt { .. } => {
            "run `paramd restore` with the same --data: it sets the damaged store aside, restores \
             everything that the dumps and the journal have, and reports what they lack"
        }
        StoreError::Missing { .. } => {
            "run `paramd restore` with the same --data to restore them; or start without them with \
             `paramd serve --new`, which assigns their IDs to other hosts"
        }
        StoreError::Foreign { .. } => {
            "put the right one back, or move this one away and run `paramd restore`"
        }
        StoreError::Locked { .. } => {
            "stop the service that is running on it, or specify another directory with --data"
        }
        StoreError::LeadershipLost { .. } => "a new start follows the one that is",
        StoreError::Led { .. } => "stop all replicas first",
        // It says itself what to do.
        StoreError::Unreachable { reason, .. }
            if reason.contains("[etcd]") || reason.contains("etcdctl") =>
        {
            return error.into();
        }
        StoreError::Unreachable { .. } => {
            "check --store and the table [etcd] in the configuration file"
        }
        StoreError::Unusable { .. }
        | StoreError::Write { .. }
        | StoreError::Unreadable { .. }
        | StoreError::Behind { .. }
        | StoreError::OtherCluster { .. } => return error.into(),
    };
    anyhow!("{error}: {advice}")
}

/// The address of the server that is running on the data directory.
fn running_on(data: &Path) -> anyhow::Result<SocketAddr> {
    let path = data.join(ADDRESS_FILE);
    fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| {
            format!(
                "a server is running on {}, but {} does not contain its address: specify it with --server",
                data.display(),
                path.display()
            )
        })
}
