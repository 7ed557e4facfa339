//! Unread answers take little memory, and do not exclude other clients.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::common::{Options, Service, attempt, simple_zone, txt_query, zones};
use socket2::{Domain, Socket, Type};

/// In kB. The service itself takes about 20 MB here.
const MOST_RESIDENT: u64 = 100_000;

/// A connection from this address, with the smallest possible receive buffer.
fn connect(from: &str, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).ok()?;
    socket.set_nonblocking(true).unwrap();
    Some(socket.into())
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// A service with large answers: the environment of a peer takes 60 kB.
fn service() -> (Service, [tempfile::TempDir; 2]) {
    let mut zone = simple_zone("lease = \"5s\"", "");
    for number in 0..2 {
        zone.push_str(&format!(
            "CORE_LONG_{number} = \"{}\"\n",
            "x".repeat(29_000)
        ));
    }
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start_with(&Options::new(zones.path(), data.path()));
    (service, [zones, data])
}

/// Whether `dig` has an answer within a second.
fn is_answered(service: &Service, arguments: &[&str]) -> bool {
    let server = format!("@{}", service.address.ip());
    let port = service.port().to_string();
    let base = [&*server, "-p", &port, "+tries=1", "+time=1", "+short"];
    let output = attempt("dig", &[&base[..], arguments].concat());
    String::from_utf8_lossy(&output.stdout).contains("id=vp0")
}

#[test]
fn unread_answers_take_little_memory_and_keep_nobody_out() {
    let (service, _files) = service();
    assert!(is_answered(&service, &["TXT", "good.test.internal"]));
    // The holder queries, so nothing waits for the disk.
    let query = framed(&txt_query(7, "_env.good.test.internal", None));
    let queries = query.repeat(80);
    let mut kept = Vec::new();
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        for address in ["127.0.0.1", "127.0.1.1", "127.0.2.1", "127.0.3.1"] {
            for _ in 0..64 {
                if let Some(mut stream) = connect(address, service.address) {
                    let _ = stream.write(&queries);
                    kept.push(stream);
                }
            }
        }
        most = most.max(service.resident());
        let good = ["TXT", "good.test.internal", "-b", "127.0.9.1"];
        // Not the holder: the answer is that of the holder.
        assert!(is_answered(&service, &good), "by UDP");
        assert!(
            is_answered(&service, &[&good[..], &["+tcp"]].concat()),
            "by TCP"
        );
        if kept.len() > 3_000 {
            kept.drain(..1_000);
        }
    }
    assert!(most < MOST_RESIDENT, "{most} kB");
    println!("{most} kB resident at the most");
}

/// All from one network, or from many addresses in it, and none of them idle.
#[test]
fn connections_that_ask_now_and_then_lock_nobody_out() {
    let (service, _files) = service();
    assert!(is_answered(&service, &["TXT", "good.test.internal"]));
    let query = framed(&txt_query(7, "good.test.internal", None));
    let mut kept: Vec<TcpStream> = Vec::new();
    for round in 0..12 {
        for number in 0..100 {
            let address = format!("127.0.1.{}", 1 + (round * 100 + number) % 200);
            kept.extend(connect(&address, service.address));
        }
        for stream in &mut kept {
            let _ = stream.write(&query);
        }
        let good = ["+tcp", "TXT", "good.test.internal", "-b", "127.0.9.1"];
        assert!(is_answered(&service, &good), "round {round}");
    }
    assert!(kept.len() > 1_100);
}
