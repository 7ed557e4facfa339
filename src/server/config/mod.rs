//! The configuration file; `etc/paramd.toml` shows and explains every key.
//!
//! A file comes in; plain data comes out, or everything that is wrong with it by
//! line. The rest of the server reads this data; nothing here knows any of it, opens
//! a socket or decides about a query.

pub mod access;
pub mod certificates;
pub mod etcd;
pub mod keys;
pub mod limits;
pub mod secret;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use self::{
    access::Access,
    certificates::{Credentials, FileKind, Files},
    etcd::Etcd,
    keys::Keys,
    limits::Limits,
    secret::Secret,
};
use crate::settings::{self, Document, Problem, Spanned, Table};

/// The port of DNS, and that of DNS over TLS (RFC 7858, section 3.1).
pub const PORT: u16 = 53;
pub const TLS_PORT: u16 = 853;

/// What the configuration file says.
#[derive(Debug, Default)]
pub struct Config {
    pub access: Access,
    pub keys: Keys,
    /// The secret of new cookies, and perhaps that of earlier ones; `None` for
    /// secrets of the service's own.
    pub cookie_secrets: Option<(Secret, Option<Secret>)>,
    pub etcd: Etcd,
    pub identity: Identity,
    pub limits: Limits,
    /// `None` for no TLS.
    pub tls: Option<Tls>,
}

/// DNS over TLS (RFC 7858).
#[derive(Debug)]
pub struct Tls {
    /// None for all addresses.
    pub listen: Vec<SocketAddr>,
    pub credentials: Credentials,
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
    settings::read(path, config)
}

/// Reads the text of a configuration file.
pub fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    settings::parse(path, text, config)
}

fn config(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Config> {
    let keys = Keys::take(&mut table.table("keys", source), source);
    let access = Access::take(&mut table.table("access", source), &keys.0, source);
    let cookie_secrets = cookies(&mut table.table("cookies", source), source);
    let etcd = Etcd::take(&mut table.table("etcd", source), source);
    let identity = identity(&mut table.table("identity", source), source);
    let limits = Limits::take(&mut table.table("limits", source), source);
    let tls = table.optional_table("tls", source);
    Some(Config {
        access,
        keys,
        cookie_secrets,
        etcd,
        identity,
        limits,
        tls: tls.and_then(|mut table| self::tls(&mut table, source)),
    })
}

fn tls(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Tls> {
    let listen_span = table.span("listen");
    let listen = table.texts("listen", source);
    let certificate = table.required("certificate", "\"server.pem\"", source);
    let key = table.required("key", "\"server.key\"", source);
    let require_client_certificate = table
        .boolean("require_client_certificate", source)
        .unwrap_or_default();
    let client_ca = match require_client_certificate {
        true => table.required("client_ca", "\"clients.pem\"", source),
        false => table.text("client_ca", source),
    };
    table.finish(source);
    if let (Some([]), Some(span)) = (listen.as_deref(), listen_span) {
        source.problem(span, "`listen` names no address: leave it out for all");
    }
    let listen = listen
        .into_iter()
        .flatten()
        .filter_map(|text| {
            let address = tls_address(text.get_ref());
            if address.is_none() {
                let message = format!(
                    "`{}` is no address: write \"10.0.0.2\", \"10.0.0.2:853\", \"fd00::2\" or \"[fd00::2]:853\"",
                    text.get_ref()
                );
                source.problem(text.span(), message);
            }
            address
        })
        .collect();
    let (certificate, key) = certificate.zip(key)?;
    // A relative path starts where the configuration file is.
    let directory = source.path().parent().unwrap_or(Path::new(""));
    let path = |name: &Spanned<String>| directory.join(name.get_ref());
    let files = Files {
        certificate: path(&certificate),
        key: path(&key),
        client_ca: client_ca.as_ref().map(path),
        require_client_certificate,
    };
    match Credentials::read(files) {
        Ok(credentials) => Some(Tls {
            listen,
            credentials,
        }),
        Err(problems) => {
            for problem in problems {
                let span = match (problem.kind, &client_ca) {
                    (FileKind::ClientCa, Some(client_ca)) => client_ca.span(),
                    (FileKind::Key, _) => key.span(),
                    _ => certificate.span(),
                };
                source.problem(span, problem.message);
            }
            None
        }
    }
}

/// `ADDR` or `ADDR:PORT`.
fn tls_address(text: &str) -> Option<SocketAddr> {
    let alone = || text.parse::<IpAddr>().ok();
    text.parse()
        .ok()
        .or_else(|| alone().map(|ip| SocketAddr::new(ip, TLS_PORT)))
}

fn identity(table: &mut Table<'_>, source: &mut Document<'_>) -> Identity {
    let name = table.text("name", source);
    let version = table.boolean("version", source);
    table.finish(source);
    if let Some(name) = &name
        && !(1..=255).contains(&name.get_ref().len())
    {
        source.problem(name.span(), "`name` has 1 to 255 octets");
    }
    Identity {
        name: name.map(Spanned::into_inner),
        version: version.unwrap_or_default(),
    }
}

fn cookies(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<(Secret, Option<Secret>)> {
    let texts = table.texts("secrets", source);
    table.finish(source);
    let texts = texts?;
    let secrets: Vec<Secret> = texts
        .iter()
        .filter_map(|text| {
            let secret = secret::secret(text.get_ref());
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
