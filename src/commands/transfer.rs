//! A zone transfer from a running server (AXFR, RFC 5936).

use std::collections::VecDeque;

use anyhow::bail;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, Record, RecordType},
};

use super::client::{Client, Conversation};

/// The records of a zone in the order of arrival, with the SOA record at the
/// start only.
pub struct Transfer {
    conversation: Conversation,
    what: String,
    ready: VecDeque<Record>,
    started: bool,
    ended: bool,
}

/// Requests a zone, or a part of it that has its own name.
pub fn begin(client: &Client, origin: &Name, name: &Name) -> anyhow::Result<Transfer> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), RecordType::AXFR));
    Ok(Transfer {
        conversation: client.send(message)?,
        what: format!("the transfer of {origin}"),
        ready: VecDeque::new(),
        started: false,
        ended: false,
    })
}

impl Transfer {
    fn receive(&mut self) -> anyhow::Result<()> {
        let message = self.conversation.receive(&self.what)?;
        self.ready.extend(message.answers);
        if self.ready.is_empty() {
            bail!("the server sent a message without records");
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
        if is_soa && self.started {
            self.ended = true;
            return None;
        }
        self.started = true;
        Some(Ok(record))
    }
}
