//! The clients: sockets that ask one server, and what each has on its way.

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    batch::{BATCH, Batch},
    queries::Queries,
    say,
};

/// What a socket holds while the load does something else.
const BUFFER: usize = 4 << 20;

/// How long an answer may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The length of a message's header.
const HEADER: usize = 12;

/// A query that is on its way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    query: u32,
    /// When it should have been sent, in nanoseconds since the start.
    at: u64,
    /// When it was: later, where the load cannot keep up.
    sent: u64,
}

struct Client {
    socket: UdpSocket,
    /// By ID.
    pending: Vec<Option<Pending>>,
    /// How many there are: a socket that waits for nothing is not asked, since a
    /// load that is long on its way from socket to socket measures that.
    waits_for: usize,
    next_id: u16,
}

/// What became of the queries.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub sent: u64,
    pub answered: u64,
    pub lost: u64,
    /// Of those that were answered: with a code other than NOERROR, truncated, or
    /// without a record.
    pub failed: u64,
    pub truncated: u64,
    pub empty: u64,
}

/// A query, and when it should be sent, in nanoseconds since the start.
pub type Wanted = (u32, u64);

/// Clients by UDP or by TCP.
pub trait Senders {
    fn count(&self) -> usize;
    /// Nanoseconds since the start.
    fn now(&self) -> u64;
    fn tally(&self) -> Tally;
    /// Takes the answers that a client has received; gives how many.
    fn receive(&mut self, client: usize) -> anyhow::Result<usize>;
    fn send(&mut self, client: usize, queries: &Queries, wanted: &[Wanted]) -> anyhow::Result<()>;
    /// Gives up what waits for too long; says of which client it was.
    fn give_up(&mut self, gave_up: impl FnMut(usize));
}

/// An answer to a query.
pub struct Answered {
    pub query: u32,
    /// When it should have been sent, in nanoseconds since the start.
    pub at: u64,
    /// Whether it says what was asked.
    pub good: bool,
}

pub struct Clients {
    clients: Vec<Client>,
    batch: Batch,
    /// Client, ID and time of all queries in the order in which they were sent.
    flying: VecDeque<(usize, u16, u64)>,
    start: Instant,
    pub tally: Tally,
}

impl Clients {
    pub fn new(server: SocketAddrV4, count: usize) -> anyhow::Result<Self> {
        let clients: io::Result<Vec<Client>> = (0..count).map(|_| Client::new(server)).collect();
        Ok(Self {
            clients: clients.with_context(|| format!("cannot ask {server}"))?,
            batch: Batch::connected(),
            flying: VecDeque::new(),
            start: Instant::now(),
            tally: Tally::default(),
        })
    }

    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Sends queries, each with the time at which it should be sent; at most
    /// BATCH. What the kernel does not take counts as lost.
    pub fn send(
        &mut self,
        client: usize,
        queries: &Queries,
        wanted: &[Wanted],
    ) -> anyhow::Result<()> {
        let wanted = &wanted[..wanted.len().min(BATCH)];
        let sent = self.now();
        let sender = &mut self.clients[client];
        for (place, &(query, at)) in wanted.iter().enumerate() {
            let id = sender.next_id;
            sender.next_id = id.wrapping_add(1);
            let octets = self.batch.put(place, queries.octets(query));
            octets[..2].copy_from_slice(&id.to_be_bytes());
            let pending = Some(Pending { query, at, sent });
            let earlier = &mut sender.pending[usize::from(id)];
            self.tally.lost += u64::from(earlier.is_some());
            sender.waits_for += usize::from(earlier.is_none());
            *earlier = pending;
            self.flying.push_back((client, id, sent));
        }
        // What the kernel does not take is found out to be lost.
        match self.batch.send(sender.socket.as_raw_fd(), wanted.len()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("nobody answers there"),
        }
        self.tally.sent += wanted.len() as u64;
        Ok(())
    }

    /// Takes the answers that a client has received; gives how many.
    pub fn receive(
        &mut self,
        client: usize,
        mut took: impl FnMut(Answered),
    ) -> anyhow::Result<usize> {
        let receiver = &mut self.clients[client];
        if receiver.waits_for == 0 {
            return Ok(0);
        }
        let received = self
            .batch
            .receive(receiver.socket.as_raw_fd(), libc::MSG_DONTWAIT);
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("nobody answers there"),
        };
        let mut answers = 0;
        for place in 0..received {
            let datagram = self.batch.datagram(place);
            let Some(&[id_high, id_low, ..]) = datagram.first_chunk::<HEADER>() else {
                continue;
            };
            let id = u16::from_be_bytes([id_high, id_low]);
            // One that was given up, or was answered already.
            let Some(Pending { query, at, .. }) = receiver.pending[usize::from(id)].take() else {
                continue;
            };
            receiver.waits_for -= 1;
            let good = self.tally.count(datagram);
            answers += 1;
            took(Answered { query, at, good });
        }
        Ok(answers)
    }

    /// Gives up what waits for too long; says of which client it was.
    pub fn give_up(&mut self, mut gave_up: impl FnMut(usize)) {
        let now = self.now();
        while let Some(&(client, id, sent)) = self.flying.front() {
            let waiting = &mut self.clients[client];
            let pending = &mut waiting.pending[usize::from(id)];
            // An ID that has been used again since belongs to a later entry.
            let waits = pending.is_some_and(|pending| pending.sent == sent);
            let is_late = now.saturating_sub(sent) >= PATIENCE.as_nanos() as u64;
            if waits && !is_late {
                return;
            }
            if waits {
                *pending = None;
                waiting.waits_for -= 1;
                self.tally.lost += 1;
                gave_up(client);
            }
            self.flying.pop_front();
        }
    }
}

impl Senders for Clients {
    fn count(&self) -> usize {
        self.count()
    }

    fn now(&self) -> u64 {
        self.now()
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn receive(&mut self, client: usize) -> anyhow::Result<usize> {
        self.receive(client, |_| {})
    }

    fn send(&mut self, client: usize, queries: &Queries, wanted: &[Wanted]) -> anyhow::Result<()> {
        self.send(client, queries, wanted)
    }

    fn give_up(&mut self, gave_up: impl FnMut(usize)) {
        self.give_up(gave_up);
    }
}

impl Client {
    fn new(server: SocketAddrV4) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.connect(&SockAddr::from(server))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: socket.into(),
            pending: vec![None; 1 << 16],
            waits_for: 0,
            next_id: 0,
        })
    }
}

impl Tally {
    /// Counts an answer; says whether it is what was asked for.
    pub fn count(&mut self, message: &[u8]) -> bool {
        let Some(&[_, _, flags, code, _, _, high, low, ..]) = message.first_chunk::<HEADER>()
        else {
            return false;
        };
        let failed = code & 0xf != 0;
        let truncated = flags & 2 != 0;
        let empty = u16::from_be_bytes([high, low]) == 0;
        self.answered += 1;
        self.failed += u64::from(failed);
        self.truncated += u64::from(truncated);
        self.empty += u64::from(empty);
        !(failed || truncated || empty)
    }

    /// What has come since.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            answered: self.answered - earlier.answered,
            lost: self.lost - earlier.lost,
            failed: self.failed - earlier.failed,
            truncated: self.truncated - earlier.truncated,
            empty: self.empty - earlier.empty,
        }
    }

    pub fn say(&self) {
        say("sent", self.sent as f64);
        say("answered", self.answered as f64);
        say("lost", self.lost as f64);
        say("failed", self.failed as f64);
        say("truncated", self.truncated as f64);
        say("empty", self.empty as f64);
    }
}
