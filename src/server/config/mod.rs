//! The configuration file; `etc/paramd.toml` shows and explains every key.
//!
//! The input is a file; the output is plain data, or every problem of the file with
//! its line. The other modules of the server read this data. This module depends on
//! none of them, opens no socket, and makes no decisions about queries.

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
    certificates::{Credentials, FileError, FileKind, TlsFiles},
    etcd::Etcd,
    keys::Keys,
    limits::Limits,
    secret::Secret,
};
use crate::settings::{self, Document, Problem, Spanned, Table};

/// The port of DNS, and that of DNS over TLS (RFC 7858, section 3.1).
pub const PORT: u16 = 53;
pub const TLS_PORT: u16 = 853;

/// A configuration.
#[derive(Debug, Default)]
pub struct Config {
    pub access: Access,
    pub keys: Keys,
    /// The configured cookie secrets; `None` for generated ones.
    pub cookie_secrets: Option<CookieSecrets>,
    pub etcd: Etcd,
    pub identity: Identity,
    pub limits: Limits,
    /// `None` for no TLS.
    pub tls: Option<Tls>,
}

/// The configured secrets of DNS cookies.
#[derive(Debug)]
pub struct CookieSecrets {
    /// Generates new cookies.
    pub current: Secret,
    /// Verifies older cookies.
    pub previous: Option<Secret>,
}

/// DNS over TLS (RFC 7858).
#[derive(Debug)]
pub struct Tls {
    /// The addresses to listen on; empty for all.
    pub listen: Vec<SocketAddr>,
    pub credentials: Credentials,
}

/// What the server reveals about itself to any client; nothing by default.
#[derive(Debug, Default, Clone)]
pub struct Identity {
    /// The name that tells this server from others: NSID (RFC 5001) and `id.server`
    /// in class CH (RFC 4892).
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

fn config(table: &mut Table<'_>, document: &mut Document<'_>) -> Option<Config> {
    let keys = Keys::take(&mut table.table("keys", document), document);
    let access = Access::take(&mut table.table("access", document), &keys.0, document);
    let cookie_secrets = cookies(&mut table.table("cookies", document), document);
    let etcd = Etcd::take(&mut table.table("etcd", document), document);
    let identity = identity(&mut table.table("identity", document), document);
    let limits = Limits::take(&mut table.table("limits", document), document);
    let tls = table.optional_table("tls", document);
    Some(Config {
        access,
        keys,
        cookie_secrets,
        etcd,
        identity,
        limits,
        tls: tls.and_then(|mut table| self::tls(&mut table, document)),
    })
}

fn tls(table: &mut Table<'_>, document: &mut Document<'_>) -> Option<Tls> {
    let listen_span = table.span("listen");
    let listen = table.texts("listen", document);
    let certificate = table.required("certificate", "\"server.pem\"", document);
    let key = table.required("key", "\"server.key\"", document);
    let require_client_certificate = table
        .boolean("require_client_certificate", document)
        .unwrap_or_default();
    let client_ca = if require_client_certificate {
        table.required("client_ca", "\"clients.pem\"", document)
    } else {
        table.text("client_ca", document)
    };
    table.finish(document);
    if let (Some([]), Some(span)) = (listen.as_deref(), listen_span) {
        document.problem(
            span,
            "`listen` is empty: omit it to listen on all addresses",
        );
    }
    let address = |text: Spanned<String>| {
        let report = |_| {
            let message = format!(
                "invalid address `{}`: write \"10.0.0.2\", \"10.0.0.2:853\", \"fd00::2\" or \"[fd00::2]:853\"",
                text.get_ref()
            );
            document.problem(text.span(), message);
        };
        let ip = text.get_ref().parse::<IpAddr>();
        let alone = |_| ip.map(|ip| (ip, TLS_PORT).into());
        text.get_ref().parse().or_else(alone).map_err(report).ok()
    };
    let listen = listen.into_iter().flatten().filter_map(address).collect();
    let (certificate, key) = certificate.zip(key)?;
    // A relative path starts in the directory of the configuration file.
    let directory = document.path().parent().unwrap_or(Path::new(""));
    let path = |name: &Spanned<String>| directory.join(name.get_ref());
    let files = TlsFiles {
        certificate: path(&certificate),
        key: path(&key),
        client_ca: client_ca.as_ref().map(path),
        require_client_certificate,
    };
    let credentials = Credentials::read(files);
    let report = |problems: Vec<FileError>| {
        for problem in problems {
            let span = match (problem.kind, &client_ca) {
                (FileKind::ClientCa, Some(client_ca)) => client_ca.span(),
                (FileKind::Key, _) => key.span(),
                _ => certificate.span(),
            };
            document.problem(span, problem.message);
        }
    };
    Some(Tls {
        listen,
        credentials: credentials.map_err(report).ok()?,
    })
}

fn identity(table: &mut Table<'_>, document: &mut Document<'_>) -> Identity {
    let name = table.text("name", document);
    let version = table.boolean("version", document);
    table.finish(document);
    if let Some(name) = &name
        && !(1..=255).contains(&name.get_ref().len())
    {
        document.problem(name.span(), "`name` must have 1 to 255 bytes");
    }
    Identity {
        name: name.map(Spanned::into_inner),
        version: version.unwrap_or_default(),
    }
}

fn cookies(table: &mut Table<'_>, document: &mut Document<'_>) -> Option<CookieSecrets> {
    let texts = table.texts("secrets", document);
    table.finish(document);
    let texts = texts?;
    let mut secrets = texts.iter().filter_map(|text| {
        let secret = secret::secret(text.get_ref());
        if secret.is_none() {
            document.problem(text.span(), "a secret must have 32 hexadecimal digits");
        }
        secret
    });
    let (current, previous) = (secrets.next(), secrets.next());
    // The rest is read for its problems.
    secrets.for_each(drop);
    if let [_, _, .., last] = texts.as_slice() {
        let message = "too many secrets: write the secret for new cookies and the previous one";
        document.problem(last.span(), message);
    }
    Some(CookieSecrets {
        current: current?,
        previous,
    })
}
