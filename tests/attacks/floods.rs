//! Floods by UDP.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    attacker::Attacker,
    field::SERVICE,
    message::{self, A, TXT, query},
};

/// Packets a second of each address.
const PER_SECOND: u64 = 5_000;

/// Names that register, without proof.
pub fn without_proof(attacker: &Attacker) {
    let socket = attacker.udp();
    attacker.at_rate(PER_SECOND, |sent| {
        let host = format!("forged-{}-{sent}", attacker.number);
        let cookie = match sent % 2 {
            0 => vec![message::cookie(b"12345678")],
            _ => Vec::new(),
        };
        let query = query(sent as u16, &message::name(&host), TXT, &cookie);
        // Whether it arrives is the attacker's problem.
        let _ = socket.send(&query);
    });
}

/// Names that do not exist.
pub fn no_such_names(attacker: &Attacker) {
    let socket = attacker.udp();
    attacker.at_rate(PER_SECOND, |sent| {
        let host = format!("none-{}-{sent}", attacker.number);
        let _ = socket.send(&query(sent as u16, &message::name(&host), A, &[]));
    });
}

/// Octets without sense, and queries with a few of them wrong.
pub fn garbage(attacker: &Attacker) {
    let socket = attacker.udp();
    let mut random: u64 = 88_172_645_463_325_252 + attacker.number as u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    attacker.at_rate(PER_SECOND, |sent| {
        let packet = match sent % 2 {
            0 => (0..next() % 600).map(|_| next() as u8).collect(),
            _ => {
                let cookie = message::cookie(&next().to_be_bytes());
                let mut packet = query(7, &message::name("peer-1"), TXT, &[cookie]);
                for _ in 0..1 + next() % 4 {
                    let at = next() as usize % packet.len();
                    packet[at] = next() as u8;
                }
                packet
            }
        };
        let _ = socket.send(&packet);
    });
}

/// Registrations and releases of the peers that claim to come from loopback.
pub fn forged_loopback(attacker: &Attacker) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    let service: IpAddr = SERVICE[0].parse().unwrap();
    let (IpAddr::V4(to), service) = (service, SocketAddr::new(service, 0).into()) else {
        unreachable!();
    };
    attacker.at_rate(PER_SECOND, |sent| {
        let peer = sent % 1_000;
        let host = match sent % 2 {
            0 => format!("_leave.peer-{peer}"),
            _ => format!("loop-{}-{sent}", attacker.number),
        };
        let source = [127, 0, attacker.number as u8, 2];
        let address = [10, 99, (peer / 250) as u8, (peer % 250) as u8];
        let subnet = message::subnet(address.into());
        let query = query(7, &message::name(&host), TXT, &[subnet]);
        let packet = ipv4(source, to.octets(), &query);
        socket.send_to(&packet, &service).unwrap();
    });
}

/// A packet of UDP, without its checksum, to port 53.
fn ipv4(source: [u8; 4], to: [u8; 4], message: &[u8]) -> Vec<u8> {
    let length = (8 + message.len() as u16).to_be_bytes();
    let udp = [&[0x14, 0xb4, 0, 53], &length[..], &[0, 0], message].concat();
    let total = (20 + udp.len() as u16).to_be_bytes();
    // The kernel fills in the checksum.
    let head = [
        &[0x45, 0],
        &total[..],
        &[0, 1, 0, 0, 64, 17, 0, 0],
        &source,
        &to,
    ];
    [head.concat(), udp].concat()
}
