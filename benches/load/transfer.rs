//! A whole zone, by AXFR (RFC 5936): read as fast as it comes, and counted; alone,
//! or beside what else the load does.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddrV4, TcpStream},
    str::FromStr as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

use crate::{say, seconds};

/// How much is read at once: more would keep what else the load does waiting.
/// It holds the longest message with its length.
const BUFFER: usize = 1 << 17;

#[derive(Debug, Args)]
pub struct Transfer {
    /// The server
    #[arg(long, value_name = "ADDR:PORT")]
    server: SocketAddrV4,

    /// The zone's origin
    #[arg(long)]
    zone: String,

    /// How long the server may be silent
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    patience: Duration,
}

impl Transfer {
    pub fn run(&self) -> anyhow::Result<()> {
        let mut client = Client::begin(self.server, &self.zone)?;
        client.stream.set_read_timeout(Some(self.patience))?;
        loop {
            match client.take()? {
                Taken::Part => {}
                Taken::All => break,
                Taken::Nothing => bail!("the server is silent for too long"),
            }
        }
        say("seconds", client.begun.elapsed().as_secs_f64());
        say("messages", client.count.messages as f64);
        say("records", client.count.records as f64);
        say("octets", client.count.octets as f64);
        Ok(())
    }
}

/// The zone over and over, beside something else.
pub struct Beside {
    server: SocketAddrV4,
    zone: String,
    client: Client,
    /// How many have ended, and how long all of them took.
    pub whole: u32,
    took: Duration,
    octets: u64,
}

impl Beside {
    pub fn begin(server: SocketAddrV4, zone: &str) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            zone: zone.to_owned(),
            client: Client::begin_beside(server, zone)?,
            whole: 0,
            took: Duration::ZERO,
            octets: 0,
        })
    }

    /// Takes a part of what has come, and begins again after the end.
    pub fn take(&mut self) -> anyhow::Result<()> {
        if self.client.take()? == Taken::All {
            self.whole += 1;
            self.took += self.client.begun.elapsed();
            self.octets += self.client.count.octets;
            self.client = Client::begin_beside(self.server, &self.zone)?;
        }
        Ok(())
    }

    pub fn say(&self) {
        say("transfers", self.whole.into());
        let octets = self.octets + self.client.count.octets;
        say("transferred", octets as f64);
        if self.whole > 0 {
            say("transfer", (self.took / self.whole).as_secs_f64());
        }
    }
}

/// A transfer that is being made.
struct Client {
    stream: TcpStream,
    begun: Instant,
    /// What has come of messages that are not whole yet.
    buffer: Vec<u8>,
    filled: usize,
    count: Count,
}

/// What came of reading once.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It has not come yet.
    Nothing,
    Part,
    /// The end, too.
    All,
}

impl Client {
    fn begin(server: SocketAddrV4, zone: &str) -> anyhow::Result<Self> {
        let mut query = Message::new(1, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_str(zone)?, RecordType::AXFR));
        let query = query.to_vec()?;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat())?;
        Ok(Self {
            stream,
            begun,
            buffer: vec![0; BUFFER],
            filled: 0,
            count: Count::default(),
        })
    }

    /// One that never waits.
    fn begin_beside(server: SocketAddrV4, zone: &str) -> anyhow::Result<Self> {
        let client = Self::begin(server, zone)?;
        client.stream.set_nonblocking(true)?;
        Ok(client)
    }

    /// Reads once, and counts the messages that are whole.
    fn take(&mut self) -> anyhow::Result<Taken> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("the transfer was broken off"),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Taken::Part),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::Nothing),
            Err(error) => return Err(error).context("the transfer was broken off"),
        }
        let mut left = &self.buffer[..self.filled];
        while let Some((length, rest)) = left.split_first_chunk()
            && let Some((message, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into())
        {
            self.count.add(message)?;
            left = rest;
        }
        let begin = self.filled - left.len();
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        // The first record and the last.
        Ok(match self.count.soas == 2 {
            true => Taken::All,
            false => Taken::Part,
        })
    }
}

/// What was transferred.
#[derive(Debug, Default)]
struct Count {
    messages: u64,
    records: u64,
    octets: u64,
    soas: u64,
}

impl Count {
    fn add(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let mut reader = Reader(message);
        let [_, _, _, code, qd_high, qd_low, an_high, an_low, ..] = *reader.take::<12>()?;
        if code & 0xf != 0 {
            bail!("the server refuses the transfer with code {}", code & 0xf);
        }
        for _ in 0..u16::from_be_bytes([qd_high, qd_low]) {
            reader.skip_name()?;
            reader.take::<4>()?;
        }
        let records = u16::from_be_bytes([an_high, an_low]);
        for _ in 0..records {
            reader.skip_name()?;
            let [type_high, type_low, .., high, low] = *reader.take::<10>()?;
            reader.skip(usize::from(u16::from_be_bytes([high, low])))?;
            let rtype = RecordType::from(u16::from_be_bytes([type_high, type_low]));
            self.soas += u64::from(rtype == RecordType::SOA);
        }
        self.messages += 1;
        self.records += u64::from(records);
        self.octets += message.len() as u64 + 2;
        Ok(())
    }
}

/// What is left of a message.
struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn take<const OCTETS: usize>(&mut self) -> anyhow::Result<&'m [u8; OCTETS]> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .context("a message is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, octets: usize) -> anyhow::Result<()> {
        self.0 = self.0.get(octets..).context("a message is too short")?;
        Ok(())
    }

    /// Labels, up to the root or a pointer.
    fn skip_name(&mut self) -> anyhow::Result<()> {
        loop {
            match self.take::<1>()?[0] {
                0 => return Ok(()),
                length if length < 64 => self.skip(length.into())?,
                _ => return self.skip(1),
            }
        }
    }
}
