//! The certificates and the key of DNS over TLS: reads PEM files, and provides the
//! configuration of handshakes.

use std::{
    fmt::Display,
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

/// The ALPN protocol ID of DNS over TLS (RFC 7301).
const PROTOCOL: &[u8] = b"dot";

/// The PEM files, and whether clients must present a certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate of the server, followed by the intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The CA that signs client certificates; `None` to request none.
    pub client_ca: Option<PathBuf>,
    pub require_client_certificate: bool,
}

/// The purpose of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Certificate,
    Key,
    ClientCa,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    pub kind: FileKind,
    pub message: String,
}

impl FileError {
    fn new(kind: FileKind, path: &Path, problem: impl Display) -> Self {
        let message = format!("{} {problem}", path.display());
        Self { kind, message }
    }
}

/// Metadata by which a changed or replaced file is recognized: its device, inode and
/// length, and the times of its last changes in seconds and nanoseconds. No program can
/// set that of the inode (`ctime`), so that a copy with preserved times is recognized, too.
pub type FileStamp = [i64; 7];

/// The stamps of the certificate, the key and the CA; `None` for a missing file.
pub type FileStamps = [Option<FileStamp>; 3];

/// The credentials of the server, and its requirements for those of clients.
#[derive(Debug)]
pub struct Credentials {
    pub files: TlsFiles,
    /// The stamps of the files when they were first read.
    pub stamps: FileStamps,
    /// The configuration of new connections. Existing connections keep theirs.
    pub current: ArcSwap<ServerConfig>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Every problem of the files.
    pub fn read(files: TlsFiles) -> Result<Self, Vec<FileError>> {
        // The stamps are taken first, so that a file that changes in the meantime is
        // read again.
        let stamps = files.stamps();
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Self {
            files,
            stamps,
            current,
        })
    }
}

impl TlsFiles {
    pub fn stamps(&self) -> FileStamps {
        [
            stamp(&self.certificate),
            stamp(&self.key),
            self.client_ca.as_deref().and_then(stamp),
        ]
    }

    pub fn load(&self) -> Result<ServerConfig, Vec<FileError>> {
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
            .map_err(|error| vec![self.rejected(&error)])
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

    fn key(&self) -> Result<PrivateKeyDer<'static>, FileError> {
        let text = read(FileKind::Key, &self.key)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let problem = match error {
                pem::Error::NoItemsFound => {
                    "has no private key: it must be PEM, without a passphrase".to_owned()
                }
                error => format!("is not a valid PEM file: {error}"),
            };
            FileError::new(FileKind::Key, &self.key, problem)
        })
    }

    /// The verifier of client certificates.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
        let Some(path) = &self.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let unusable = |error: &dyn Display| {
            let problem = format!("has no usable CA: {error}");
            FileError::new(FileKind::ClientCa, path, problem)
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(FileKind::ClientCa, path)? {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let roots = Arc::new(roots);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        if !self.require_client_certificate {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| unusable(&error))
    }

    /// Why TLS rejects the certificate and the key.
    fn rejected(&self, error: &Error) -> FileError {
        let certificate = self.certificate.display();
        match error {
            Error::InconsistentKeys(_) => {
                let problem = format!("is not the key of the first certificate in {certificate}");
                FileError::new(FileKind::Key, &self.key, problem)
            }
            Error::InvalidCertificate(_) => {
                let problem = format!("has no usable certificate: {error}");
                FileError::new(FileKind::Certificate, &self.certificate, problem)
            }
            _ => {
                let problem = format!("has no usable key: {error}");
                FileError::new(FileKind::Key, &self.key, problem)
            }
        }
    }
}

fn stamp(path: &Path) -> Option<FileStamp> {
    let file = fs::metadata(path).ok()?;
    let [device, inode, bytes] = [file.dev(), file.ino(), file.len()].map(u64::cast_signed);
    let (mtime, ctime) = (file.mtime(), file.ctime());
    let [mtime_nsec, ctime_nsec] = [file.mtime_nsec(), file.ctime_nsec()];
    Some([device, inode, bytes, mtime, mtime_nsec, ctime, ctime_nsec])
}

fn read(kind: FileKind, path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path)
        .map_err(|error| FileError::new(kind, path, format_args!("cannot be read: {error}")))
}

/// Reads all certificates in the file, which must contain at least one.
fn certificates(kind: FileKind, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(kind, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let problem = match certificates {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) => "has no certificate: it must be PEM".to_owned(),
        Err(error) => format!("is not a valid PEM file: {error}"),
    };
    Err(FileError::new(kind, path, problem))
}
