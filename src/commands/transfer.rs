//! A zone transfer from a running server (AXFR, RFC 5936).

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, Record, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use crate::server::reply::EXTENDED_ERROR;

/// How long the server may take to connect, and for each message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The records of a zone as they arrive, the SOA only at the start.
pub struct Transfer {
    server: SocketAddr,
    stream: TcpStream,
    ready: VecDeque<Record>,
    begun: bool,
    ended: bool,
}

/// Asks the server for a zone.
pub fn begin(server: SocketAddr, origin: &Name) -> anyhow::Result<Transfer> {
    let unreachable = || format!("no server answers at {server}: is it running?");
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT).with_context(unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(origin.clone(), RecordType::AXFR));
    // With EDNS, so that a refusal can say why.
    message.edns = Some(Edns::new());
    let octets = message.to_vec()?;
    let length = u16::try_from(octets.len())?.to_be_bytes();
    stream
        .write_all(&[&length, octets.as_slice()].concat())
        .with_context(unreachable)?;
    Ok(Transfer {
        server,
        stream,
        ready: VecDeque::new(),
        begun: false,
        ended: false,
    })
}

impl Transfer {
    fn receive(&mut self) -> anyhow::Result<()> {
        let broken = || format!("the transfer from {} broke off", self.server);
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).with_context(broken)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut octets).with_context(broken)?;
        let message = Message::from_vec(&octets).with_context(broken)?;
        match message.metadata.response_code {
            ResponseCode::NoError => self.ready.extend(message.answers),
            code => {
                let reason = reason(&message).unwrap_or_else(|| code.to_string());
                bail!("{} refuses the transfer: {reason}", self.server);
            }
        }
        if self.ready.is_empty() {
            return Err(anyhow!(broken()));
        }
        Ok(())
    }
}

impl Iterator for Transfer {
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.ready.is_empty()
            && let Err(error) = self.receive()
        {
            self.ended = true;
            return Some(Err(error));
        }
        let record = self.ready.pop_front()?;
        let is_soa = record.record_type() == RecordType::SOA;
        if is_soa && self.begun {
            self.ended = true;
            return None;
        }
        self.begun = true;
        Some(Ok(record))
    }
}

/// The text of an extended error (RFC 8914).
fn reason(message: &Message) -> Option<String> {
    let edns = message.edns.as_ref()?;
    match edns.option(EdnsCode::Unknown(EXTENDED_ERROR))? {
        EdnsOption::Unknown(_, value) => {
            let text = String::from_utf8_lossy(value.get(2..)?).into_owned();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    }
}
