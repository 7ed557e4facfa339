//! Names outside all zones: queries are forwarded to upstream resolvers, and
//! their responses are returned unchanged.
//!
//! * `relay`: what is sent to an upstream, and what of its response is returned.
//! * `failing`: upstreams that are slow, silent, wrong or broken.
//! * `bounds`: how many queries are forwarded at once, and which are answered
//!   locally.
//! * `resolvers`: 200 queries each to BIND and Unbound, directly and through the
//!   service.

mod bounds;
mod failing;
mod messages;
mod relay;
mod resolvers;
mod upstream;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::common::{Options, Service, simple_zone, socket, zones};

/// Longer than the service tries.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that forwards to these upstreams, in this order.
struct Field {
    service: Service,
    _zones: tempfile::TempDir,
    _data: tempfile::TempDir,
}

impl Field {
    fn new(upstreams: &[SocketAddr]) -> Self {
        Self::with(upstreams, Vec::new())
    }

    fn with(upstreams: &[SocketAddr], more: Vec<String>) -> Self {
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.more = more;
        for upstream in upstreams {
            let upstream = upstream.to_string();
            options.more.extend(["--forward".to_owned(), upstream]);
        }
        let service = Service::start_with(&options);
        Self {
            service,
            _zones: zones,
            _data: data,
        }
    }

    /// The output of `dig`, which waits longer than the service.
    fn dig(&self, arguments: &[&str]) -> String {
        self.service.dig(&[&["+time=20"][..], arguments].concat())
    }

    /// The response to a packet by UDP.
    fn by_udp(&self, packet: &[u8]) -> Vec<u8> {
        let socket = socket();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(packet, self.service.address).unwrap();
        let mut reply = vec![0; 65_535];
        let length = socket.recv(&mut reply).unwrap();
        reply.truncate(length);
        reply
    }

    /// The response to a packet by TCP.
    fn by_tcp(&self, packet: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.service.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = (packet.len() as u16).to_be_bytes();
        stream.write_all(&[&length, packet].concat()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply).unwrap();
        reply
    }
}

/// A query for the addresses of a name, with these flags, and optionally an OPT
/// record.
fn query(name: &str, flags: [u8; 2], edns: Option<(u8, &[u8])>) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    if let Some((dnssec_ok, options)) = edns {
        query[11] = 1;
        query.extend([0, 0, 41, 0x04, 0xd0, 0, 0, dnssec_ok, 0]);
        query.extend((options.len() as u16).to_be_bytes());
        query.extend(options);
    }
    query
}
