//! The configuration file; `etc/paramd.toml` shows and explains every key.

use std::path::Path;

use super::{
    access::Access,
    cookie::{self, Secret},
    tsig::Keys,
};
use crate::{
    keys::{self, Key},
    settings::{self, Problem, Source, Table},
};

#[derive(Debug, Default)]
pub struct Config {
    pub access: Access,
    pub keys: Keys,
    /// The secret of new cookies, and perhaps that of earlier ones; `None` for
    /// secrets of the service's own.
    pub cookie_secrets: Option<(Secret, Option<Secret>)>,
    pub identity: Identity,
}

/// What the service tells of itself to whoever asks; nothing by default.
#[derive(Debug, Default, Clone)]
pub struct Identity {
    /// Which of several servers this is: NSID (RFC 5001) and `id.server` in
    /// class CH (RFC 4892).
    pub name: Option<String>,
    /// Whether `version.bind` in class CH is answered.
    pub version: bool,
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<Config, Vec<Problem>> {
    settings::read(path, |table, source| {
        let keys = keys_of(&mut table.table("keys", source), source);
        let access = Access::take(&mut table.table("access", source), &keys, source);
        let cookie_secrets = cookies(&mut table.table("cookies", source), source);
        let identity = identity(&mut table.table("identity", source), source);
        Some(Config {
            access,
            keys: Keys(keys),
            cookie_secrets,
            identity,
        })
    })
}

/// Those of the files of `[keys]`, and those that it has itself.
fn keys_of(table: &mut Table<'_>, source: &mut Source<'_>) -> Vec<Key> {
    let directory = source.path().parent().unwrap_or(Path::new("")).to_owned();
    let mut keys: Vec<Key> = Vec::new();
    let mut found = Vec::new();
    for file in table.texts("files", source).unwrap_or_default() {
        match keys::read(&directory.join(file.get_ref())) {
            Ok(read) => found.extend(read.into_iter().map(|key| (file.span(), key))),
            Err(problems) => source.problems(problems),
        }
    }
    for (name, mut table) in table.tables(source) {
        let algorithm = table.text("algorithm", source);
        let secret = table.required("secret", "\"…\", as `tsig-keygen` prints it", source);
        table.finish(source);
        let Some(secret) = secret else { continue };
        let algorithm = algorithm.map_or("hmac-sha256".into(), toml::Spanned::into_inner);
        match Key::new(name.get_ref(), &algorithm, secret.get_ref()) {
            Ok(key) => found.push((name.span(), key)),
            Err(message) => source.problem(name.span(), message),
        }
    }
    for (span, key) in found {
        match keys.iter().any(|other| other.name == key.name) {
            true => source.problem(span, format!("there is a key `{}` already", key.name)),
            false => keys.push(key),
        }
    }
    keys
}

fn identity(table: &mut Table<'_>, source: &mut Source<'_>) -> Identity {
    let name = table.text("name", source);
    let version = table.boolean("version", source);
    table.finish(source);
    if let Some(name) = &name
        && !(1..=255).contains(&name.get_ref().len())
    {
        source.problem(name.span(), "`name` has 1 to 255 octets");
    }
    Identity {
        name: name.map(toml::Spanned::into_inner),
        version: version.unwrap_or_default(),
    }
}

fn cookies(table: &mut Table<'_>, source: &mut Source<'_>) -> Option<(Secret, Option<Secret>)> {
    let texts = table.texts("secrets", source);
    table.finish(source);
    let texts = texts?;
    let secrets: Vec<Secret> = texts
        .iter()
        .filter_map(|text| {
            let secret = cookie::secret(text.get_ref());
            if secret.is_none() {
                source.problem(text.span(), "a secret is 32 hexadecimal digits");
            }
            secret
        })
        .collect();
    if let [.., last] = texts.as_slice()
        && texts.len() > 2
    {
        let message = "there are two secrets at most: that of new cookies and the one before it";
        source.problem(last.span(), message);
    }
    let mut secrets = secrets.into_iter();
    Some((secrets.next()?, secrets.next()))
}
