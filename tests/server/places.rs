//! The places of connections by TCP that are kept, while strangers have all others.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::common::namespaces::{Network, enter};
use crate::common::{Options, Service, run, simple_zone, strings_of, txt_query, zones};
use hickory_proto::op::Message;
use param_daemon::keys;
use socket2::{Domain, Socket, Type};

/// The service is host 0.
const STRANGERS: usize = 1;
const SIGNING: usize = 2;

/// More than there are places, each in a network of its own.
const COUNT: usize = 1_200;

struct Field {
    network: Network,
    key: PathBuf,
    _service: Service,
    _files: [tempfile::TempDir; 3],
}

impl Field {
    fn new() -> Self {
        let network = Network::new(2);
        // All addresses of this network are the strangers'.
        let local = ["ip", "route", "add", "local", "10.96.0.0/11", "dev", "lo"];
        network.run(STRANGERS, &local);
        let route = ["ip", "route", "add", "10.96.0.0/11", "via", "10.77.0.11"];
        network.run(0, &route);
        let files = tempfile::tempdir().unwrap();
        let key = files.path().join("friend.key");
        fs::write(&key, run("tsig-keygen", &["friend"])).unwrap();
        let config = files.path().join("paramd.toml");
        fs::write(&config, "[keys]\nfiles = [\"friend.key\"]\n").unwrap();
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["0.0.0.0:53".into()];
        options.more = vec!["--config".into(), config.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        Self {
            network,
            key,
            _service: service,
            _files: [zones, data, files],
        }
    }

    /// A connection out of the namespace of that host.
    fn connect(&self, host: usize, from: &str, to: &str) -> TcpStream {
        let [from, to] = [from, to].map(|it| it.parse::<SocketAddr>().unwrap());
        let namespace = self.network.name(host);
        let connecting = || {
            enter(namespace);
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&from.into()).unwrap();
            socket.connect(&to.into()).unwrap();
            let patience = Some(Duration::from_secs(2));
            socket.set_read_timeout(patience).unwrap();
            socket.into()
        };
        thread::scope(|scope| scope.spawn(connecting).join().unwrap())
    }

    fn signed_query(&self) -> Vec<u8> {
        let key = keys::read(&self.key).unwrap().remove(0);
        let query = txt_query(7, "test.internal", None);
        let mut query = Message::from_vec(&query).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (signature, _) = key.signer.sign_message(&query, now.as_secs()).unwrap();
        query.set_signature(signature);
        query.to_vec().unwrap()
    }
}

/// Whether the query is answered.
fn asks(stream: &mut TcpStream, query: &[u8]) -> bool {
    let mut asking = || -> std::io::Result<Vec<u8>> {
        stream.write_all(&(query.len() as u16).to_be_bytes())?;
        stream.write_all(query)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    };
    let reply = asking().ok();
    reply.is_some_and(|reply| {
        let strings = strings_of(&Message::from_vec(&reply).unwrap());
        strings.iter().any(|string| string.starts_with("peers="))
    })
}

#[test]
fn places_are_kept_for_loopback_and_for_clients_that_sign() {
    let field = Field::new();
    let plain = txt_query(7, "test.internal", None);
    let mut local = field.connect(0, "127.0.0.1:0", "127.0.0.1:53");
    let mut signing = field.connect(SIGNING, "10.77.0.12:0", "10.77.0.1:53");
    let mut stranger = field.connect(STRANGERS, "10.100.0.1:0", "10.77.0.1:53");
    assert!(asks(&mut local, &plain));
    assert!(asks(&mut signing, &field.signed_query()));
    assert!(asks(&mut stranger, &plain));
    let mut strangers = Vec::new();
    for number in 0..COUNT {
        let from = format!("10.{}.{}.1:0", 101 + number / 250, number % 250);
        let mut stream = field.connect(STRANGERS, &from, "10.77.0.1:53");
        assert!(asks(&mut stream, &plain), "stranger {number}");
        strangers.push(stream);
    }
    assert!(!asks(&mut stranger, &plain), "all places are taken");
    // Those that were there before, and new ones.
    assert!(asks(&mut local, &plain), "its place is gone");
    assert!(
        asks(&mut signing, &field.signed_query()),
        "its place is gone"
    );
    let mut local = field.connect(0, "127.0.0.1:0", "127.0.0.1:53");
    assert!(asks(&mut local, &plain));
    let mut signing = field.connect(SIGNING, "10.77.0.12:0", "10.77.0.1:53");
    assert!(asks(&mut signing, &field.signed_query()));
}
