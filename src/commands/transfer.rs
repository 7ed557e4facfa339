//! A zone transfer from a running server (AXFR, RFC 5936).

use std::collections::VecDeque;

use anyhow::anyhow;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, Record, RecordType},
};

use super::client::{Client, Conversation};

/// The records of a zone as they arrive, the SOA only at the start.
pub struct Transfer {
    conversation: Conversation,
    what: String,
    ready: VecDeque<Record>,
    begun: bool,
    ended: bool,
}

/// Asks the server for a zone, or a part of it that has a name of its own.
pub fn begin(client: &Client, origin: &Name, name: &Name) -> anyhow::Result<Transfer> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), RecordType::AXFR));
    Ok(Transfer {
        conversation: client.send(message)?,
        what: format!("the transfer of {origin}"),
        ready: VecDeque::new(),
        begun: false,
        ended: false,
    })
}

impl Transfer {
    fn receive(&mut self) -> anyhow::Result<()> {
        let message = self.conversation.receive(&self.what)?;
        self.ready.extend(message.answers);
        match self.ready.is_empty() {
            true => Err(anyhow!("the server has sent a message without records")),
            false => Ok(()),
        }
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
