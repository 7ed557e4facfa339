//! The clients by TCP: connections that stay open, and what each has on its way.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddrV4, TcpStream},
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::{
    clients::{Senders, Tally, Wanted},
    queries::Queries,
};

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// The length before each message (RFC 1035, section 4.2.2).
const PREFIX: usize = 2;

struct Connection {
    stream: TcpStream,
    /// What has been received of messages that are not complete.
    received: Vec<u8>,
    /// What the kernel has not taken yet.
    unsent: Vec<u8>,
}

pub struct Connections {
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    start: Instant,
    tally: Tally,
}

impl Connections {
    pub fn new(server: SocketAddrV4, count: usize) -> anyhow::Result<Self> {
        let connections: io::Result<_> = (0..count).map(|_| Connection::new(server)).collect();
        Ok(Self {
            connections: connections.with_context(|| format!("cannot connect to {server}"))?,
            buffer: vec![0; BUFFER],
            start: Instant::now(),
            tally: Tally::default(),
        })
    }
}

impl Senders for Connections {
    fn count(&self) -> usize {
        self.connections.len()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    /// When the queries should be sent makes no difference.
    fn send(&mut self, place: usize, queries: &Queries, wanted: &[Wanted]) -> anyhow::Result<()> {
        let connection = &mut self.connections[place];
        for &(query, _) in wanted {
            let octets = queries.octets(query);
            let length = u16::try_from(octets.len())?;
            connection.unsent.extend_from_slice(&length.to_be_bytes());
            connection.unsent.extend_from_slice(octets);
        }
        self.tally.sent += wanted.len() as u64;
        connection.flush()
    }

    fn receive(&mut self, place: usize) -> anyhow::Result<usize> {
        let connection = &mut self.connections[place];
        connection.flush()?;
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(length) => connection
                .received
                .extend_from_slice(&self.buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("a connection has failed"),
        }
        let mut answers = 0;
        let mut rest = connection.received.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX>() {
            let length = usize::from(u16::from_be_bytes(*prefix));
            let Some((message, after)) = after.split_at_checked(length) else {
                break;
            };
            self.tally.count(message);
            answers += 1;
            rest = after;
        }
        let taken = connection.received.len() - rest.len();
        connection.received.drain(..taken);
        Ok(answers)
    }

    /// TCP loses nothing.
    fn give_up(&mut self, _: impl FnMut(usize)) {}
}

impl Connection {
    fn new(server: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            unsent: Vec::new(),
        })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("a connection has failed"),
        }
    }
}
