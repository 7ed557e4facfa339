//! Names that the service forwards: to an upstream that says nothing, or much.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use crate::{
    attacker::{Attacker, drain},
    common::namespaces::enter,
    field::UPSTREAM,
    message::{TXT, framed, query},
};

/// How many strings of 255 octets the large answer has.
const STRINGS: usize = 230;

/// Starts an upstream that runs until the test ends. It never answers names that begin
/// with `silent`; all others have an answer of 59 kB.
pub fn start_upstream(namespace: &str) {
    let namespace = namespace.to_owned();
    let starting = thread::spawn(move || {
        enter(&namespace);
        let udp = UdpSocket::bind((UPSTREAM, 53)).unwrap();
        let tcp = TcpListener::bind((UPSTREAM, 53)).unwrap();
        thread::spawn(move || {
            let mut packet = [0; 4_096];
            while let Ok((length, client)) = udp.recv_from(&mut packet) {
                let query = &packet[..length];
                if length > 12 && !is_silent(query) {
                    let mut reply = head(query);
                    // Truncated.
                    reply[2] |= 2;
                    let _ = udp.send_to(&reply, client);
                }
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
    });
    starting.join().unwrap();
}

fn is_silent(query: &[u8]) -> bool {
    query[13..].starts_with(b"silent")
}

/// The header and the question, as a reply without records.
fn head(query: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut reply = query[..end + 5].to_vec();
    reply[2] = 0x81;
    reply[3] = 0x80;
    reply[6..12].fill(0);
    reply
}

/// One query by TCP.
fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut query).ok()?;
    if is_silent(&query) {
        thread::sleep(Duration::from_secs(5));
        return None;
    }
    let mut reply = head(&query);
    reply[7] = 1;
    let data = [&[255][..], &[b'x'; 255]].concat().repeat(STRINGS);
    reply.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
    reply.extend((data.len() as u16).to_be_bytes());
    reply.extend(data);
    stream.write_all(&framed(&reply)).ok()
}

fn outside(kind: &str, attacker: &Attacker, number: u64) -> Vec<u8> {
    let name = format!("{kind}-{}-{number}.example", attacker.number);
    query(number as u16, &name, TXT, &[])
}

pub fn by_udp(attacker: &Attacker) {
    let socket = attacker.udp();
    attacker.at_rate(500, |sent| {
        let kind = if sent % 2 == 0 { "silent" } else { "large" };
        let _ = socket.send(&outside(kind, attacker, sent));
    });
}

/// 64 connections with 64 queries each.
pub fn by_tcp(attacker: &Attacker) {
    let queries: Vec<u8> = (0..64)
        .flat_map(|number| {
            let kind = if number % 2 == 0 { "silent" } else { "large" };
            framed(&outside(kind, attacker, number))
        })
        .collect();
    let open = || {
        let mut stream = attacker.connect(53, 65_536)?;
        stream.write_all(&queries).ok()?;
        Some(stream)
    };
    attacker.keep_open(64, open, |stream| {
        drain(stream)?;
        Ok(())
    });
}
