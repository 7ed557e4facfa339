//! The channel between two replicas: TCP with TLS 1.3, in which both sides present the
//! same raw public key (RFC 7250). Its key pair is in etcd, so whoever can read that is a
//! replica.

use std::{io, sync::Arc};

use ring::{rand::SystemRandom, signature::Ed25519KeyPair};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
        ServerConfig, SignatureScheme,
        client::{
            AlwaysResolvesClientRawPublicKeys,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
        server::{
            AlwaysResolvesServerRawPublicKeys,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
        sign::CertifiedKey,
        version::TLS13,
    },
};

/// The size up to which a message is accepted: a list of all peers has about eight bytes
/// for each.
const MAX_MESSAGE_BYTES: u32 = 64 << 20;

/// The name in the handshake, which nobody checks.
const NAME: &str = "replica";

/// The key pair of the replicas.
#[derive(Clone)]
pub struct ChannelKeys {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl ChannelKeys {
    /// Generates a key pair, as PKCS #8.
    ///
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn generate() -> io::Result<Vec<u8>> {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pair = pair.map_err(|_| io::Error::other("the system provides no random numbers"))?;
        Ok(pair.as_ref().to_vec())
    }

    /// Reads a key pair.
    pub fn from_pkcs8(pair: &[u8]) -> Result<Self, Error> {
        let provider = Arc::new(provider::default_provider());
        let key = PrivateKeyDer::try_from(pair.to_vec())
            .map_err(|reason| Error::General(reason.to_owned()))?;
        let key = provider.key_provider.load_private_key(key)?;
        let public = key.public_key().map(|public| public.into_owned());
        let public = public.ok_or_else(|| Error::General("it has no public key".to_owned()))?;
        let presented = CertificateDer::from(public.to_vec());
        let key = Arc::new(CertifiedKey::new(vec![presented], key));
        let verifier = Arc::new(SameKey {
            public,
            provider: provider.clone(),
        });
        let versions = [&TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                key.clone(),
            )));
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// The server's side of a connection.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Receiver, Sender)> {
        stream.set_nodelay(true)?;
        Ok(split(self.acceptor.accept(stream).await?.into()))
    }

    /// The client's side of a connection.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<(Receiver, Sender)> {
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        Ok(split(self.connector.connect(name, stream).await?.into()))
    }
}

/// The half of a connection from which messages are read.
pub struct Receiver(ReadHalf<TlsStream<TcpStream>>);

/// The half of a connection to which messages are written.
pub struct Sender(WriteHalf<TlsStream<TcpStream>>);

fn split(stream: TlsStream<TcpStream>) -> (Receiver, Sender) {
    let (reader, writer) = tokio::io::split(stream);
    (Receiver(reader), Sender(writer))
}

impl Receiver {
    /// Reads a message: its length in four octets, then JSON. This must not be dropped
    /// before it has ended, since a part of a message would be lost.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let length = self.0.read_u32().await?;
        if length > MAX_MESSAGE_BYTES {
            return Err(io::Error::other(format!("a message of {length} bytes")));
        }
        let mut message = vec![0; length as usize];
        self.0.read_exact(&mut message).await?;
        Ok(serde_json::from_slice(&message)?)
    }
}

impl Sender {
    /// Writes a message.
    pub async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let message = serde_json::to_vec(message)?;
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        self.0.write_u32(length).await?;
        self.0.write_all(&message).await?;
        self.0.flush().await
    }
}

/// Accepts whoever proves to have the same key pair.
#[derive(Debug)]
struct SameKey {
    public: SubjectPublicKeyInfoDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl SameKey {
    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if presented.as_ref() == self.public.as_ref() {
            return Ok(());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify(
        &self,
        message: &[u8],
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &self.public, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// TLS 1.2, which has no raw public keys here, is not offered.
fn not_offered() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not offered".to_owned()))
}

impl ServerCertVerifier for SameKey {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(presented)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _presented: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        not_offered()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _presented: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for SameKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        presented: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(presented)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _presented: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        not_offered()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _presented: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    fn keys() -> ChannelKeys {
        ChannelKeys::from_pkcs8(&ChannelKeys::generate().unwrap()).unwrap()
    }

    /// Connects with these keys, sends a message, and returns what arrives.
    async fn exchange(server: ChannelKeys, client: ChannelKeys) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepted = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            server.accept(stream).await?.0.receive().await
        });
        let stream = TcpStream::connect(address).await?;
        if let Ok((_receiver, mut sender)) = client.connect(stream).await {
            // The server may have refused the key, which this side learns later.
            let _ = sender.send(&"hello").await;
            return accepted.await.unwrap();
        }
        accepted.await.unwrap()
    }

    #[tokio::test]
    async fn replicas_with_one_key_pair_talk_to_each_other() {
        let keys = keys();
        assert_eq!(exchange(keys.clone(), keys).await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_stranger_is_refused() {
        assert!(exchange(keys(), keys()).await.is_err());
    }
}
