//! A neighbour that sends packets with a loopback source address.

use std::{thread, time::Duration};

use crate::common::namespaces::Network;
use crate::common::{self, Options, Service, simple_zone, zones};

/// Sends a UDP packet as an Ethernet frame, since a kernel does not send packets
/// with a loopback source.
const SEND: &str = r#"
import socket, struct, sys
source, destination, query = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
frames.bind(("eth0", 0))
mac = bytes.fromhex(sys.argv[4].replace(":", ""))
udp = struct.pack("!4H", 5300, 53, 8 + len(query), 0) + query
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def ip(check):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, check,
                       socket.inet_aton(source), socket.inet_aton(destination))
frames.send(mac + frames.getsockname()[4] + b"\x08\x00" + ip(checksum(ip(0))) + udp)
"#;

/// A host and a service that accepts loopback addresses from the network.
struct Field {
    network: Network,
    service: Service,
    _files: [tempfile::TempDir; 2],
}

impl Field {
    fn new(listen: &str) -> Self {
        let network = Network::new(1);
        for setting in [
            "net.ipv4.conf.all.route_localnet=1",
            "net.ipv4.conf.br0.route_localnet=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.br0.rp_filter=0",
            "net.ipv4.conf.all.accept_local=1",
        ] {
            let (name, value) = setting.split_once('=').unwrap();
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            network.run(0, &["sh", "-c", &format!("echo {value} >{path}")]);
        }
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec![listen.into()];
        let service = Service::start_with(&options);
        Self {
            network,
            service,
            _files: [zones, data],
        }
    }

    /// Sends the query from the neighbour, and waits for its effect.
    fn forge(&self, source: &str, destination: &str, query: &[u8]) {
        let bridge = self.network.run(0, &["cat", "/sys/class/net/br0/address"]);
        let query: String = query.iter().map(|octet| format!("{octet:02x}")).collect();
        let arguments = [
            "python3",
            "-c",
            SEND,
            source,
            destination,
            &query,
            bridge.trim(),
        ];
        self.network.run(1, &arguments);
        thread::sleep(Duration::from_millis(300));
    }

    fn ask_locally(&self, arguments: &[&str]) -> String {
        let server = format!("@{}", self.service.address.ip());
        let server = server.replace("0.0.0.0", "127.0.0.1");
        let base = ["dig", &*server, "+short", "+tries=1", "+time=3"];
        self.network.run(0, &[&base[..], arguments].concat())
    }
}

/// A DNS UPDATE that deletes all records of a name, which releases its host.
fn release(host: &str) -> Vec<u8> {
    let mut query = vec![0, 7, 0x28, 0, 0, 1, 0, 0, 0, 1, 0, 0];
    let name = |labels: &[&str]| -> Vec<u8> {
        let labels = labels.iter();
        let octets = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        octets.chain([0]).collect()
    };
    query.extend(name(&["test", "internal"]));
    query.extend([0, 6, 0, 1]);
    query.extend(name(&[host, "test", "internal"]));
    query.extend([0, 255, 0, 255, 0, 0, 0, 0, 0, 0]);
    query
}

#[test]
fn a_loopback_source_from_the_wire_proves_nothing() {
    for (listen, destinations) in [
        ("0.0.0.0:53", &["10.77.0.1", "127.0.0.1"][..]),
        ("10.77.0.1:53", &["10.77.0.1"]),
        ("127.0.0.1:53", &["127.0.0.1"]),
    ] {
        let field = Field::new(listen);
        let kept = field.ask_locally(&["TXT", "kept.test.internal"]);
        assert!(kept.contains("id=vp0"), "{listen}: {kept}");
        for destination in destinations {
            let query = common::txt_query(7, "forged.test.internal", Some("10.77.0.99"));
            field.forge("127.0.0.2", destination, &query);
            field.forge("127.0.0.2", destination, &release("kept"));
        }
        let address = |host: &str| field.ask_locally(&["A", &format!("{host}.test.internal")]);
        assert_eq!(address("forged"), "", "{listen}: registered without proof");
        assert_ne!(address("kept"), "", "{listen}: released without proof");
    }
}
