//! A zone transfer from a running server (AXFR, RFC 5936).

use std::{collections::VecDeque, iter};

use anyhow::Context as _;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, Record, RecordType},
};

use super::client::Client;

/// Requests a zone, or a part of it that has its own name. Returns the records in the
/// order of arrival, with the SOA record at the start only. Nothing follows an error.
pub fn begin(
    client: &Client,
    origin: &Name,
    name: &Name,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Record>> + use<>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), RecordType::AXFR));
    let mut conversation = client.send(message)?;
    let what = format!("the transfer of {origin}");
    let mut ready = VecDeque::new();
    let mut is_first = true;
    let mut next = move || {
        if ready.is_empty() {
            ready.extend(conversation.receive(&what)?.answers);
        }
        let record = ready.pop_front();
        let record: Record = record.context("the server sent a message without records")?;
        let is_end = record.record_type() == RecordType::SOA && !is_first;
        is_first = false;
        Ok((!is_end).then_some(record))
    };
    Ok(iter::from_fn(move || next().transpose()))
}
