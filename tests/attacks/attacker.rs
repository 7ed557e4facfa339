//! One address that attacks, for as long as it is told.

use std::{
    io::{self, Read as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::field::service_for;

/// How often whatever is sent at a rate is sent.
const TICK: Duration = Duration::from_millis(5);

/// How often connections are opened and used, and how many an address opens each time.
/// Attackers and service share the processors here, and far more connections a second
/// are an attack on the kernel.
const TURN: Duration = Duration::from_millis(100);
const OPENED: usize = 100;

pub struct Attacker {
    pub address: IpAddr,
    /// Which of the addresses it is.
    pub number: usize,
    /// How many attacks it makes at the same time: each has its part of the rates.
    pub attacks: usize,
    pub until: Instant,
}

impl Attacker {
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Calls it so many times a second, with the count so far.
    pub fn at_rate(&self, per_second: u64, mut send: impl FnMut(u64)) {
        let begun = Instant::now();
        let per_second = per_second / self.attacks as u64;
        let mut sent = 0;
        while !self.is_over() {
            let due = begun.elapsed().as_millis() as u64 * per_second / 1_000;
            // What could not be sent in time is left out.
            sent = sent.max(due.saturating_sub(1 + per_second / 10));
            while sent < due {
                send(sent);
                sent += 1;
            }
            thread::sleep(TICK);
        }
    }

    /// A socket for UDP to the service, whose answers nobody reads.
    pub fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind((self.address, 0)).unwrap();
        socket.connect(service_for(self.address, 53)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// A connection with that receive buffer, if the service takes it.
    pub fn connect(&self, port: u16, receive_buffer: usize) -> Option<TcpStream> {
        let domain = Domain::for_address(SocketAddr::new(self.address, 0));
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive_buffer).unwrap();
        // Attackers keep no ports that are closed.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.bind(&SocketAddr::new(self.address, 0).into()).ok()?;
        let service = service_for(self.address, port).into();
        let patience = Duration::from_millis(500);
        socket.connect_timeout(&service, patience).ok()?;
        socket.set_nonblocking(true).unwrap();
        Some(socket.into())
    }

    /// Keeps so many connections open, and does something with each in turn. Those
    /// that it gives up, as do those that the service closes, make room for new ones.
    pub fn keep_open(
        &self,
        count: usize,
        open: impl Fn() -> Option<TcpStream>,
        mut go_on: impl FnMut(&mut TcpStream) -> io::Result<()>,
    ) {
        let mut connections: Vec<TcpStream> = Vec::new();
        while !self.is_over() {
            let missing = count - connections.len();
            for _ in 0..missing.min(OPENED.div_ceil(self.attacks)) {
                match open() {
                    Some(connection) => connections.push(connection),
                    None => break,
                }
                if self.is_over() {
                    return;
                }
            }
            connections.retain_mut(|connection| match go_on(connection) {
                Ok(()) => matches!(connection.take_error(), Ok(None)),
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            });
            thread::sleep(TURN);
        }
    }
}

/// Reads what is there; an error when the connection has ended.
pub fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
