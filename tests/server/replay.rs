//! Replayed signed messages.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::common::{Options, Service, pipe, run, simple_zone, value_in, zones};
use hickory_proto::op::{Message, ResponseCode};

/// Forwards UDP packets to a server, and keeps them.
struct Relay {
    port: u16,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    fn start(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: socket.local_addr().unwrap().port(),
            kept: Arc::default(),
        };
        let kept = relay.kept.clone();
        thread::spawn(move || {
            let mut packet = [0; 4_096];
            loop {
                let (length, client) = socket.recv_from(&mut packet).unwrap();
                kept.lock().unwrap().push(packet[..length].to_vec());
                let reply = send(server, &packet[..length]);
                socket.send_to(&reply, client).unwrap();
            }
        });
        relay
    }

    /// The last packet.
    fn last(&self) -> Vec<u8> {
        self.kept.lock().unwrap().last().unwrap().clone()
    }
}

/// Sends a packet. Returns the response.
fn send(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket.send_to(packet, server).unwrap();
    let mut reply = [0; 4_096];
    let length = socket.recv(&mut reply).unwrap();
    reply[..length].to_vec()
}

struct Field {
    service: Service,
    relay: Relay,
    key: String,
    _files: [tempfile::TempDir; 3],
}

impl Field {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("admin.key");
        fs::write(&key, run("tsig-keygen", &["admin"])).unwrap();
        let key = key.to_str().unwrap().to_owned();
        let config = directory.path().join("paramd.toml");
        let access = "[access]\nupdate = [\"key:admin\"]\n";
        fs::write(&config, format!("[keys]\nfiles = [\"{key}\"]\n{access}")).unwrap();
        let zones = zones(&[("t.toml", &simple_zone("register_keys = [\"admin\"]", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.more = vec!["--config".into(), config.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        // An update that was signed before the start is refused; signatures have
        // a resolution of a second.
        thread::sleep(Duration::from_millis(1_100));
        Self {
            relay: Relay::start(service.address),
            service,
            key,
            _files: [zones, data, directory],
        }
    }

    /// Sends a signed query through the relay.
    fn register(&self, host: &str) -> Option<String> {
        let port = self.relay.port.to_string();
        let name = format!("{host}.test.internal");
        let base = ["@127.0.0.1", "-p", &port, "+short", "-k", &self.key];
        let answer = run("dig", &[&base[..], &["TXT", &name]].concat());
        value_in(&answer, "id")
    }

    fn update(&self, line: &str) {
        let port = self.relay.port;
        let script = format!("server 127.0.0.1 {port}\nzone test.internal\n{line}\nsend\n");
        let output = pipe("nsupdate", &["-k", &self.key], &script);
        assert!(output.status.success(), "{output:?}");
    }

    /// Sends a packet once more, directly to the service.
    fn again(&self, packet: &[u8]) -> ResponseCode {
        let reply = send(self.service.address, packet);
        Message::from_vec(&reply).unwrap().metadata.response_code
    }
}

#[test]
fn a_signed_release_releases_once() {
    let field = Field::new();
    assert_eq!(field.register("a").as_deref(), Some("vp0"));
    field.update("update delete a.test.internal");
    let release = field.relay.last();
    assert_eq!(field.register("b").as_deref(), Some("vp0"));
    assert_eq!(field.register("a").as_deref(), Some("vp1"));
    for _ in 0..3 {
        assert_eq!(field.again(&release), ResponseCode::Refused);
    }
    assert_eq!(
        field.register("a").as_deref(),
        Some("vp1"),
        "it was released again"
    );
    // With a new signature it is accepted.
    field.update("update delete a.test.internal");
    assert_eq!(field.service.short(&["A", "a.test.internal"]).len(), 0);
}

#[test]
fn a_signed_registration_registers_once() {
    let field = Field::new();
    assert_eq!(field.register("a").as_deref(), Some("vp0"));
    let registration = field.relay.last();
    field.update("update delete a.test.internal");
    assert_eq!(field.again(&registration), ResponseCode::Refused);
    let summary = field.service.short(&["TXT", "test.internal"]).concat();
    assert!(summary.contains("peers=0"), "{summary}");
}
