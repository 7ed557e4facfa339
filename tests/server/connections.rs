//! TCP connections.

use crate::common::{Service, shipped_service, simple_zone, status, txt_query, zones};
use hickory_proto::op::{Message, ResponseCode};

const O: &str = "pbft.fabric.internal";

#[test]
fn one_address_cannot_take_all_connections() {
    let (service, _data) = shipped_service();
    let connections: Vec<_> = (0..1_100)
        .filter_map(|_| std::net::TcpStream::connect(service.address).ok())
        .collect();
    let answer = service.dig(&["-b", "127.0.0.2", "+tcp", "TXT", O]);
    assert_eq!(status(&answer), "NOERROR", "{answer}");
    // The same address can connect as well: the least active connections make
    // room.
    let answer = service.dig(&["+tcp", "TXT", O]);
    assert_eq!(status(&answer), "NOERROR", "{answer}");
    drop(connections);
}

/// RFC 7766, sections 6.2.1.1 and 7: queries may be pipelined, and known hosts
/// are answered before those that wait for the disk.
#[test]
fn queries_of_one_connection_are_answered_as_they_can_be() {
    use std::io::{Read as _, Write as _};

    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let mut stream = std::net::TcpStream::connect(service.address).unwrap();
    let patience = std::time::Duration::from_secs(5);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut octets = Vec::new();
    const QUERIES: u16 = 300;
    for id in 0..QUERIES {
        let name = match id % 2 {
            0 => format!("h{id}.test.internal"),
            _ => "test.internal".to_owned(),
        };
        let query = txt_query(id, &name, None);
        octets.extend(u16::try_from(query.len()).unwrap().to_be_bytes());
        octets.extend(query);
    }
    stream.write_all(&octets).unwrap();
    // The client has closed its side, and is still answered.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..QUERIES {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).unwrap();
        let reply = Message::from_vec(&message).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert_eq!(reply.answers.len(), 1);
        answered.insert(reply.metadata.id);
    }
    assert_eq!(answered.len(), usize::from(QUERIES));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "then it is closed");
}
