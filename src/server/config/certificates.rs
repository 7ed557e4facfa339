//! The certificates and the key of DNS over TLS: PEM files in, what a handshake
//! needs out.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    Error, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

/// What clients call the protocol (RFC 7301), if they say it.
const PROTOCOL: &[u8] = b"dot";

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
pub enum FileKind {
    Certificate,
    Key,
    ClientCa,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unusable {
    pub kind: FileKind,
    pub message: String,
}

/// What tells a file from an earlier one of that name; `None` where it is not
/// there. The time of the last change of any kind is kept by the kernel alone,
/// so that a copy with its times preserved shows too.
pub type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

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

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What told the files when they were read first.
    pub fn stamps(&self) -> [Stamp; 3] {
        self.stamps
    }

    /// What new connections are given.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Gives new connections another one.
    pub fn replace(&self, config: ServerConfig) {
        self.current.store(Arc::new(config));
    }
}

impl Files {
    pub fn stamps(&self) -> [Stamp; 3] {
        [
            stamp(&self.certificate),
            stamp(&self.key),
            self.client_ca.as_deref().and_then(stamp),
        ]
    }

    pub fn load(&self) -> Result<ServerConfig, Vec<Unusable>> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(FileKind::Certificate, &self.certificate);
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
            kind: FileKind::Key,
            message,
        };
        let text = read(FileKind::Key, &self.key)?;
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
            kind: FileKind::ClientCa,
            message: format!("{} has no CA that can be used: {error}", path.display()),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(FileKind::ClientCa, path)? {
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
        let (kind, message) = match error {
            Error::InconsistentKeys(_) => (
                FileKind::Key,
                format!("{key} is not the key of the first certificate in {certificate}"),
            ),
            Error::InvalidCertificate(_) => (
                FileKind::Certificate,
                format!("{certificate} has no certificate that can be used: {error}"),
            ),
            _ => (
                FileKind::Key,
                format!("{key} has no key that can be used: {error}"),
            ),
        };
        Unusable { kind, message }
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

fn read(kind: FileKind, path: &Path) -> Result<Vec<u8>, Unusable> {
    fs::read(path).map_err(|error| Unusable {
        kind,
        message: format!("{} cannot be read: {error}", path.display()),
    })
}

/// All certificates in the file, of which there must be one.
fn certificates(kind: FileKind, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let text = read(kind, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let wrong = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "has no certificate: it must be PEM".to_owned(),
        Err(error) => format!("is no PEM file: {error}"),
    };
    Err(Unusable {
        kind,
        message: format!("{} {wrong}", path.display()),
    })
}
