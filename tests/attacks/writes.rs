//! Attacks that make the service write: to its log and to its disk.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::{
    attacker::{Attacker, drain},
    common::namespaces::enter,
    common::pipe,
    field::{Field, UPSTREAM, service_for},
    message::{self, TXT, framed, query},
};

/// Sends queries by one connection at a time, and reads the answers.
fn by_tcp(attacker: &Attacker, per_second: u64, query: impl Fn(u64) -> Vec<u8>) {
    let mut stream: Option<TcpStream> = None;
    attacker.at_rate(per_second, |sent| {
        if stream.is_none() {
            stream = attacker.connect(53, 65_536);
        }
        let Some(open) = &mut stream else { return };
        let written = open.write_all(&framed(&query(sent)));
        let would_block = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        let is_broken = written.is_err_and(|error| !would_block(&error)) || drain(open).is_err();
        if is_broken {
            stream = None;
        }
    });
}

/// Eight hosts of each address leave and return at another address.
pub fn restless_hosts(attacker: &Attacker) {
    by_tcp(attacker, 2_000, |sent| {
        let host = format!("restless-{}-{}", attacker.number, sent / 2 % 8);
        let address: IpAddr = [10, 98, (sent >> 8) as u8, sent as u8].into();
        match sent % 2 {
            0 => query(7, &message::name(&host), TXT, &[message::subnet(address)]),
            _ => {
                // As the one before it registered.
                let before: IpAddr = [10, 98, ((sent - 1) >> 8) as u8, (sent - 1) as u8].into();
                let name = message::name(&format!("_leave.{host}"));
                query(7, &name, TXT, &[message::subnet(before)])
            }
        }
    });
}

/// Hosts that nobody knew, one after another.
pub fn new_hosts(attacker: &Attacker) {
    by_tcp(attacker, 4_000, |sent| {
        let host = message::name(&format!("new-{}-{sent}", attacker.number));
        query(7, &host, TXT, &[])
    });
}

/// A signed release of the peer, as `nsupdate` sends it, for others to send again. Here
/// it goes astray.
pub fn signed_release(field: &Field, host: &str) -> Vec<u8> {
    let kept: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let (namespace, key) = (field.peers().to_owned(), field.key().to_owned());
    let script = format!(
        "server {UPSTREAM} 5300\nzone test.internal\nupdate delete {}\nsend\n",
        message::name(host)
    );
    let found = kept.clone();
    let sending = move || {
        enter(&namespace);
        let socket = UdpSocket::bind((UPSTREAM, 5_300)).unwrap();
        let listening = thread::spawn(move || {
            let mut packet = [0; 4_096];
            let length = socket.recv(&mut packet).unwrap();
            *found.lock().unwrap() = Some(packet[..length].to_vec());
        });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.key");
        fs::write(&path, key).unwrap();
        // Nobody answers it.
        let arguments = [
            "-t",
            "1",
            "-u",
            "1",
            "-r",
            "0",
            "-k",
            path.to_str().unwrap(),
        ];
        pipe("nsupdate", &arguments, &script);
        listening.join().unwrap();
    };
    thread::spawn(sending).join().unwrap();
    kept.lock().unwrap().take().unwrap()
}

/// Sends it for the first time, before the peer registers.
pub fn deliver(field: &Field, packet: &[u8]) {
    let (namespace, packet) = (field.peers().to_owned(), packet.to_vec());
    let sending = move || {
        enter(&namespace);
        let source: IpAddr = UPSTREAM.parse().unwrap();
        let socket = UdpSocket::bind((source, 0)).unwrap();
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).unwrap();
        socket.send_to(&packet, service_for(source, 53)).unwrap();
        let mut reply = [0; 4_096];
        socket.recv(&mut reply).unwrap();
        assert_eq!(reply[3] & 15, 0, "the release was refused");
    };
    thread::spawn(sending).join().unwrap();
}

/// Sends the same signed message again and again.
pub fn repeat(attacker: &Attacker, packet: &[u8]) {
    let socket = attacker.udp();
    attacker.at_rate(2_000, |_| {
        let _ = socket.send(packet);
    });
}
