//! A whole zone, by AXFR (RFC 5936): read as fast as it comes, and counted.

use std::{
    io::{BufReader, Read, Write as _},
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

/// How much is read at once.
const BUFFER: usize = 1 << 18;

#[derive(Debug, Args)]
pub struct Transfer {
    /// The server
    #[arg(long, value_name = "ADDR:PORT")]
    server: SocketAddrV4,

    /// The zone's origin
    #[arg(long)]
    zone: String,

    /// Transfer it again and again for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    again: Duration,

    /// How long the server may be silent
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    patience: Duration,
}

/// What was transferred.
#[derive(Debug, Default)]
struct Count {
    messages: u64,
    records: u64,
    octets: u64,
    /// The first record and the last.
    soas: u64,
}

impl Transfer {
    pub fn run(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut transfers = 0_u32;
        loop {
            let begun = Instant::now();
            let count = self.once()?;
            transfers += 1;
            if start.elapsed() < self.again {
                continue;
            }
            say("seconds", begun.elapsed().as_secs_f64());
            say("messages", count.messages as f64);
            say("records", count.records as f64);
            say("octets", count.octets as f64);
            say("transfers", transfers.into());
            return Ok(());
        }
    }

    fn once(&self) -> anyhow::Result<Count> {
        let mut query = Message::new(1, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_str(&self.zone)?, RecordType::AXFR));
        let query = query.to_vec()?;
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.write_all(&(query.len() as u16).to_be_bytes())?;
        stream.write_all(&query)?;
        let mut stream = BufReader::with_capacity(BUFFER, stream);
        let mut count = Count::default();
        let mut message = Vec::new();
        while count.soas < 2 {
            let mut length = [0; 2];
            let ended = "the transfer was broken off";
            stream.read_exact(&mut length).context(ended)?;
            message.resize(usize::from(u16::from_be_bytes(length)), 0);
            stream.read_exact(&mut message).context(ended)?;
            count.add(&message)?;
        }
        Ok(count)
    }
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
