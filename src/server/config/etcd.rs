//! How the store in etcd is used: the table `[etcd]`.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_rustls::rustls::{
    Error,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::settings::{Document, Spanned, Table};

/// The bounds of a lease, in seconds. etcd grants no shorter ones, and takes an hour
/// to notice that a writer with a longer one is gone.
const LEASE: std::ops::Range<u64> = 3..3_601;

/// The bounds of the time for which a replica may be cut off, in seconds.
const HOLD: std::ops::Range<u64> = 2..86_401;

/// The default port of the replicas' channel.
const CHANNEL_PORT: u16 = 5380;

/// What the table says. The files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// All keys are below it.
    pub prefix: String,
    /// How long the writer stays the writer without being heard.
    pub lease: Duration,
    /// How long leases of peers are renewed without contact with the writer, or with
    /// etcd.
    pub hold: Duration,
    /// Where other replicas reach this one.
    pub channel: SocketAddr,
    /// `None` for connections without TLS.
    pub tls: Option<Tls>,
    pub login: Option<Login>,
}

/// The contents of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub ca: Vec<u8>,
    pub own: Option<OwnCertificate>,
}

/// The certificate that the service presents to etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            prefix: "/paramd".to_owned(),
            lease: Duration::from_secs(3),
            hold: Duration::from_secs(15),
            channel: SocketAddr::from((Ipv6Addr::UNSPECIFIED, CHANNEL_PORT)),
            tls: None,
            login: None,
        }
    }
}

impl Etcd {
    /// Reads the table.
    pub fn take(table: &mut Table<'_>, source: &mut Document<'_>) -> Self {
        let prefix = table.text("prefix", source);
        let lease = table.duration("lease", LEASE, source);
        let hold = table.duration("hold", HOLD, source);
        let channel = table.text("channel", source);
        let channel = channel.and_then(|text| {
            let report = |_| {
                let message = format!(
                    "invalid address `{}`: write \"10.0.0.2:{CHANNEL_PORT}\" or \"[::]:{CHANNEL_PORT}\"",
                    text.get_ref()
                );
                source.problem(text.span(), message);
            };
            text.get_ref().parse().map_err(report).ok()
        });
        let tls = tls(table, source);
        let login = login(table, source);
        table.finish(source);
        if let Some(prefix) = &prefix
            && !is_prefix(prefix.get_ref())
        {
            let message = "`prefix` starts with `/`, does not end with it, and has only letters, \
                           digits, `.`, `-`, `_` and `/`: write prefix = \"/paramd\"";
            source.problem(prefix.span(), message);
        }
        let default = Self::default();
        Self {
            prefix: prefix.map_or(default.prefix, Spanned::into_inner),
            lease: lease.unwrap_or(default.lease),
            hold: hold.unwrap_or(default.hold),
            channel: channel.unwrap_or(default.channel),
            tls,
            login,
        }
    }
}

fn is_prefix(text: &str) -> bool {
    let is_known = |sign: char| sign.is_ascii_alphanumeric() || "./-_".contains(sign);
    text.starts_with('/') && !text.ends_with('/') && text.chars().all(is_known)
}

fn tls(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Tls> {
    let ca = table.text("ca", source);
    let certificate = ("certificate", "\"client.pem\"");
    let (certificate, key) = both(table, certificate, ("key", "\"client.key\""), source);
    if let (Some(certificate), None) = (&certificate, &ca) {
        let message = "`certificate` needs `ca`, with which connections to etcd use TLS: write \
                       ca = \"etcd-ca.pem\"";
        source.problem(certificate.span(), message);
    }
    let ca = ca?;
    let own = certificate
        .zip(key)
        .and_then(|(certificate, key)| own_certificate(&certificate, &key, source));
    let ca = file(&ca, source, has_certificate)?;
    Some(Tls { ca, own })
}

/// Reads a certificate and its key, which must belong together.
fn own_certificate(
    certificate: &Spanned<String>,
    key: &Spanned<String>,
    source: &mut Document<'_>,
) -> Option<OwnCertificate> {
    let read = file(certificate, source, has_certificate);
    let read = read.zip(file(key, source, has_key));
    let (certificate_text, key_text) = read?;
    let pair: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate_text).collect();
    let pair = pair.and_then(|chain| Ok((chain, PrivateKeyDer::from_pem_slice(&key_text)?)));
    let problem = match pair {
        Ok((chain, key)) => CertifiedKey::from_der(chain, key, &ring::default_provider())
            .err()
            .map(|error| match error {
                Error::InconsistentKeys(_) => "is not the key of the first certificate".to_owned(),
                error => format!("cannot be used with the certificate: {error}"),
            }),
        Err(error) => Some(format!("cannot be used with the certificate: {error}")),
    };
    if let Some(problem) = problem {
        let message = format!(
            "{} {problem} in {}",
            path_of(key, source).display(),
            path_of(certificate, source).display()
        );
        source.problem(key.span(), message);
        return None;
    }
    Some(OwnCertificate {
        certificate: certificate_text,
        key: key_text,
    })
}

fn login(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Login> {
    let user = ("user", "\"paramd\"");
    let password = ("password_file", "\"etcd-password\"");
    let (user, password) = both(table, user, password, source);
    let (user, path) = user.zip(password)?;
    let password = file(&path, source, has_text)?;
    let password = String::from_utf8_lossy(&password).trim_end().to_owned();
    Some(Login {
        user: user.into_inner(),
        password,
    })
}

/// Two keys that are both there, or neither; each with an example of its value.
fn both(
    table: &mut Table<'_>,
    first: (&'static str, &str),
    second: (&'static str, &str),
    source: &mut Document<'_>,
) -> (Option<Spanned<String>>, Option<Spanned<String>>) {
    let has_first = table.span(first.0).is_some();
    let has_second = table.span(second.0).is_some();
    let mut text = |(key, example), is_required| {
        if is_required {
            table.required(key, example, source)
        } else {
            table.text(key, source)
        }
    };
    (text(first, has_second), text(second, has_first))
}

/// The content of a file, whose path starts where the configuration file is.
fn file(
    name: &Spanned<String>,
    source: &mut Document<'_>,
    check: fn(&[u8]) -> Result<(), &'static str>,
) -> Option<Vec<u8>> {
    let path = path_of(name, source);
    let read = fs::read(&path).map_err(|error| format!("cannot be read: {error}"));
    let checked = read.and_then(|content| {
        check(&content)?;
        Ok(content)
    });
    let report = |problem| source.problem(name.span(), format!("{} {problem}", path.display()));
    checked.map_err(report).ok()
}

fn path_of(name: &Spanned<String>, source: &Document<'_>) -> PathBuf {
    let directory = source.path().parent().unwrap_or(Path::new(""));
    directory.join(name.get_ref())
}

fn has_certificate(text: &[u8]) -> Result<(), &'static str> {
    match CertificateDer::pem_slice_iter(text).next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err("is no PEM file"),
        None => Err("has no certificate: it must be PEM"),
    }
}

fn has_key(text: &[u8]) -> Result<(), &'static str> {
    let key = PrivateKeyDer::from_pem_slice(text).map(drop);
    key.map_err(|_| "has no private key: it must be PEM, without a passphrase")
}

fn has_text(text: &[u8]) -> Result<(), &'static str> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.trim().is_empty() => Ok(()),
        Ok(_) => Err("is empty"),
        Err(_) => Err("is not UTF-8"),
    }
}
