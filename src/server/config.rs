//! The configuration file; `etc/paramd.toml` shows and explains every key.

use std::path::Path;

use crate::settings::{self, Problem, Source, Table};

use super::{
    access::Access,
    cookie::{self, Secret},
};

#[derive(Debug, Default)]
pub struct Config {
    pub access: Access,
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
        let access = Access::take(&mut table.table("access", source), source);
        let cookie_secrets = cookies(&mut table.table("cookies", source), source);
        let identity = identity(&mut table.table("identity", source), source);
        Some(Config {
            access,
            cookie_secrets,
            identity,
        })
    })
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
