//! A service with TLS, and its clients.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use hickory_proto::op::Message;
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::common::{
    Options, Service, attempt, certificates::Certificates, pipe, simple_zone, txt_query, zones,
};

/// The name in the certificate of the service.
pub const NAME: &str = "dns.test.internal";

/// A free port on loopback.
pub const LOOPBACK: &str = "listen = [\"127.0.0.1:0\"]\n";

/// A service with a certificate of the CA `ours`.
pub struct Field {
    pub service: Service,
    pub certificates: Certificates,
    _zones: TempDir,
    _data: TempDir,
}

impl Field {
    /// With additional keys in `[tls]`.
    pub fn new(keys: &str) -> Self {
        Self::within(None, &format!("{LOOPBACK}{keys}"))
    }

    pub fn within(namespace: Option<&str>, keys: &str) -> Self {
        let certificates = Certificates::new();
        certificates.authority("ours");
        certificates.authority("theirs");
        certificates.issue("server", "ours", NAME);
        let text = format!("[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n{keys}");
        fs::write(certificates.file("c.toml"), text).unwrap();
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.more = vec!["--config".into(), certificates.path("c.toml")];
        options.namespace = namespace;
        if namespace.is_some() {
            options.listen = vec!["0.0.0.0:53".into()];
        }
        let service = Service::start_with(&options);
        Self {
            service,
            certificates,
            _zones: zones,
            _data: data,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.service.tls[0]
    }

    /// `dig` by TLS, which accepts only certificates of this CA and with this
    /// name.
    pub fn dig(&self, authority: &str, name: &str, arguments: &[&str]) -> String {
        let port = self.address().port().to_string();
        let authority = self.certificates.path(&format!("{authority}.pem"));
        let authority = format!("+tls-ca={authority}");
        let name = format!("+tls-hostname={name}");
        let base = ["@127.0.0.1", "-p", &port, "+tls", &authority, &name];
        let base = [&base[..], &["+tries=1", "+time=3"]].concat();
        let output = attempt("dig", &[&base[..], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    }

    /// `dig` by TLS with the right CA and name.
    pub fn ask(&self, arguments: &[&str]) -> String {
        self.dig("ours", NAME, arguments)
    }

    /// `openssl s_client`, which sends nothing and prints the handshake.
    pub fn handshake(&self, arguments: &[&str]) -> String {
        let address = self.address().to_string();
        let base = ["s_client", "-connect", &address, "-servername", NAME];
        let output = pipe("openssl", &[&base[..], arguments].concat(), "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        String::from_utf8_lossy(&output.stdout).into_owned() + &said
    }

    /// The serial of the certificate that new connections get.
    pub fn serial(&self) -> String {
        serial(&self.handshake(&[]))
    }

    pub fn connect(&self) -> Client {
        Client::new(self.address(), &self.certificates)
    }
}

/// The serial of a certificate in PEM.
pub fn serial(pem: &str) -> String {
    let output = pipe("openssl", &["x509", "-noout", "-serial"], pem);
    assert!(output.status.success(), "{pem}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A TLS connection under the control of the test.
pub struct Client(pub StreamOwned<ClientConnection, TcpStream>);

impl Client {
    pub fn new(address: SocketAddr, certificates: &Certificates) -> Self {
        let authority = fs::read(certificates.file("ours.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(&authority).unwrap();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        Self(StreamOwned::new(tls, stream))
    }

    pub fn write(&mut self, query: &[u8]) {
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length, query].concat()).unwrap();
        self.0.flush().unwrap();
    }

    pub fn read(&mut self) -> Message {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message).unwrap();
        Message::from_vec(&message).unwrap()
    }

    pub fn asks(&mut self) -> bool {
        self.write(&txt_query(7, "test.internal", None));
        self.read().answers.len() == 1
    }
}

impl Field {
    /// Clients have certificates of another CA.
    pub fn with_clients(required: bool) -> Self {
        let clients = Certificates::new();
        clients.authority("clients");
        clients.authority("others");
        clients.issue("friend", "clients", "friend.internal");
        clients.issue("stranger", "others", "friend.internal");
        let authority = clients.path("clients.pem");
        let keys =
            format!("client_ca = \"{authority}\"\nrequire_client_certificate = {required}\n");
        let field = Self::new(&keys);
        for client in ["friend", "stranger"] {
            for ending in ["pem", "key"] {
                let name = format!("{client}.{ending}");
                fs::copy(clients.file(&name), field.certificates.file(&name)).unwrap();
            }
        }
        field
    }
}
