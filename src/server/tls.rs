//! DNS over TLS (RFC 7858): the handshake, after which a connection is like any
//! other; and the files that it needs, which are read again when they change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        Error, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};
use tracing::{info, warn};

use super::tcp::{self, Client};

/// What clients call the protocol (RFC 7301), if they say it.
const PROTOCOL: &[u8] = b"dot";

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(5);

/// Takes a connection from its handshake on, which may take no longer than a
/// message.
pub(super) async fn serve(
    stream: &mut TcpStream,
    credentials: &Credentials,
    client: Client<'_>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(credentials.current.load_full());
    let stream = tokio::select! {
        stream = timeout(client.connection.idle(), acceptor.accept(stream)) => stream??,
        _ = stopping.changed() => return Ok(()),
    };
    let (reader, writer) = tokio::io::split(stream);
    tcp::serve(reader, writer, client, stopping).await
}

/// The PEM files, and what is asked of clients.
#[derive(Debug, Clone)]
pub struct Files {
    /// The server's certificate first, then those between it and its CA.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs the certificates of clients. None are asked for without it.
    pub client_ca: Option<PathBuf>,
    pub require_client_certificate: bool,
}

/// Which of the files is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    ClientCa,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unusable {
    pub part: Part,
    pub message: String,
}

/// What tells a file from an earlier one of that name; `None` where it is not
/// there. The time of the last change of any kind is kept by the kernel alone,
/// so that a copy with its times preserved shows too.
type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// What the service shows and asks for in TLS.
#[derive(Debug)]
pub struct Credentials {
    files: Files,
    /// As the files were when they were read first.
    stamps: [Stamp; 3],
    /// For new connections; earlier ones go on with theirs.
    current: ArcSwap<ServerConfig>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn read(files: Files) -> Result<Self, Vec<Unusable>> {
        // Before they are read: what changes meanwhile is read again.
        let stamps = files.stamps();
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Self {
            files,
            stamps,
            current,
        })
    }
}

/// Reads the files again when they change, until the service stops.
pub async fn watch(credentials: Arc<Credentials>, mut stopping: watch::Receiver<bool>) {
    let mut watcher = Watcher {
        stamps: credentials.stamps,
        wrong: None,
        credentials,
    };
    while timeout(LOOK, stopping.changed()).await.is_err() {
        let looking = tokio::task::spawn_blocking(move || {
            watcher.look();
            watcher
        });
        match looking.await {
            Ok(looked) => watcher = looked,
            Err(error) => {
                warn!("certificates are no longer read when they change: {error}");
                return;
            }
        }
    }
}

struct Watcher {
    credentials: Arc<Credentials>,
    /// As the files were last time.
    stamps: [Stamp; 3],
    /// What was wrong with them then.
    wrong: Option<String>,
}

impl Watcher {
    fn look(&mut self) {
        let files = &self.credentials.files;
        let stamps = files.stamps();
        // What could not be read may be readable now, unchanged.
        if stamps == self.stamps && self.wrong.is_none() {
            return;
        }
        self.stamps = stamps;
        match files.load() {
            Ok(config) => {
                self.credentials.current.store(Arc::new(config));
                self.wrong = None;
                let shown = files.certificate.display();
                info!("new connections are given the certificate that {shown} has now");
            }
            Err(problems) => {
                let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
                let wrong = messages.join("; ");
                // Said once, not at each look.
                if self.wrong.as_ref() != Some(&wrong) {
                    warn!("{wrong}. The certificate from before stays in use");
                }
                self.wrong = Some(wrong);
            }
        }
    }
}

impl Files {
    fn stamps(&self) -> [Stamp; 3] {
        [
            stamp(&self.certificate),
            stamp(&self.key),
            self.client_ca.as_deref().and_then(stamp),
        ]
    }

    fn load(&self) -> Result<ServerConfig, Vec<Unusable>> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(Part::Certificate, &self.certificate);
        let key = self.key();
        let verifier = self.verifier(&provider);
        let (chain, key, verifier) = match (chain, key, verifier) {
            (Ok(chain), Ok(key), Ok(verifier)) => (chain, key, verifier),
            (chain, key, verifier) => {
                let problems = [chain.err(), key.err(), verifier.err()];
                return Err(problems.into_iter().flatten().collect());
            }
        };
        self.config(provider, chain, key, verifier)
            .map_err(|error| vec![self.unfit(&error)])
    }

    fn config(
        &self,
        provider: Arc<CryptoProvider>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Unusable> {
        let shown = self.key.display();
        let unusable = |message| Unusable {
            part: Part::Key,
            message,
        };
        let text = read(Part::Key, &self.key)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => unusable(format!(
                "{shown} has no private key: it must be PEM, without a passphrase"
            )),
            error => unusable(format!("{shown} is no PEM file: {error}")),
        })
    }

    /// What checks the certificates of clients.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
        let Some(path) = &self.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let unusable = |error: String| Unusable {
            part: Part::ClientCa,
            message: format!("{} has no CA that can be used: {error}", path.display()),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(Part::ClientCa, path)? {
            roots
                .add(certificate)
                .map_err(|error| unusable(error.to_string()))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = match self.require_client_certificate {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| unusable(error.to_string()))
    }

    /// Why certificate and key cannot be used together.
    fn unfit(&self, error: &Error) -> Unusable {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let (part, message) = match error {
            Error::InconsistentKeys(_) => (
                Part::Key,
                format!("{key} is not the key of the first certificate in {certificate}"),
            ),
            Error::InvalidCertificate(_) => (
                Part::Certificate,
                format!("{certificate} has no certificate that can be used: {error}"),
            ),
            _ => (
                Part::Key,
                format!("{key} has no key that can be used: {error}"),
            ),
        };
        Unusable { part, message }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    ))
}

fn read(part: Part, path: &Path) -> Result<Vec<u8>, Unusable> {
    fs::read(path).map_err(|error| Unusable {
        part,
        message: format!("{} cannot be read: {error}", path.display()),
    })
}

/// All certificates in the file, of which there must be one.
fn certificates(part: Part, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let text = read(part, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let wrong = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "has no certificate: it must be PEM".to_owned(),
        Err(error) => format!("is no PEM file: {error}"),
    };
    Err(Unusable {
        part,
        message: format!("{} {wrong}", path.display()),
    })
}
