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
    server::config::keys::Keys,
    settings::Problem,
    store::{
        LocalStore, Store, StoreError,
        local::{self, Opening},
    },
    zone::{self, Zone},
};

use self::client::Client;

/// The file in the data directory that says where its server answers.
const ADDRESS_FILE: &str = "address";

/// The text as a terminal may have it: what a server says may hold sequences that a
/// terminal obeys, or that turn the direction of writing. Line feeds are ours.
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
    Store(Box<LocalStore>),
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
    check_is_there(data)?;
    if local::is_empty(data) {
        return Err(anyhow!(
            "there is no store in {}: name the data directory with --data, or a running server \
             with --server",
            data.display()
        ));
    }
    match LocalStore::open(data, Opening::Tool) {
        Ok(store) => Ok(Registrations::Store(Box::new(store))),
        Err(StoreError::Locked { .. }) => server(running_on(data)?),
        Err(error) => Err(advised(error)),
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

/// That there is such a data directory: a tool makes none.
fn check_is_there(data: &Path) -> anyhow::Result<()> {
    match data.is_dir() {
        true => Ok(()),
        false => Err(anyhow!(
            "there is no data directory {}: name it with --data, or a running server with --server",
            data.display()
        )),
    }
}

/// That anything is stored of a zone. Says of which there is, if not.
fn check_is_stored(store: &mut dyn Store, origin: &str) -> anyhow::Result<()> {
    let contents = store.load(origin)?;
    if contents.serial > 0 || contents.names_peers() {
        return Ok(());
    }
    let origins = store.origins()?.join(", ");
    let others = match origins.is_empty() {
        true => "no zone has a peer there".to_owned(),
        false => format!("there are peers of {origins}"),
    };
    Err(anyhow!("nothing is stored of {origin}: {others}"))
}

/// The error of a store, and what to do about it. What is said here does no harm
/// in any order, and while a supervisor starts the service again and again.
fn advised(error: StoreError) -> anyhow::Error {
    let advice = match &error {
        StoreError::Corrupt { .. } => {
            "run `paramd restore` with the same --data: it sets the damaged store aside, brings \
             back all that the dumps and the journal have, and names what they do not have"
        }
        StoreError::Missing { .. } => {
            "`paramd restore` with the same --data brings back what they have; or begin anew with \
             `paramd serve --new`, which gives the IDs to other hosts"
        }
        StoreError::Foreign { .. } => {
            "put its own back, or move this one away and run `paramd restore`"
        }
        StoreError::Locked { .. } | StoreError::Unusable { .. } | StoreError::Write { .. } => {
            return error.into();
        }
    };
    anyhow!("{error}: {advice}")
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

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
        let plain = "h\u{e9}llo \"a\\b\" 'c'\n";
        assert_eq!(printable(plain), plain);
        for (text, expected) in [
            ("\x1b[2Ja", "\\u{1b}[2Ja"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\rb\x07", "a\\rb\\u{7}"),
            // Right to left, and text that nobody sees.
            ("\u{202e}a\u{2066}", "\\u{202e}a\\u{2066}"),
            ("\u{200b}\u{feff}", "\\u{200b}\\u{feff}"),
            ("\u{2028}", "\\u{2028}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
