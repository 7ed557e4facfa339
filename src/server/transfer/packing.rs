//! Packs records into the messages of a transfer (RFC 5936, section 2.2).
//!
//! hickory encodes the records that do not belong to peers. Names are compressed here:
//! a zone of a million peers has sixteen million records, and the only names that they
//! can share are the previous name and the origin.

use hickory_proto::{
    rr::{Name, Record},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use crate::{
    server::{
        policy::tsig::Signature,
        wire::{HEADER, push_framed},
    },
    zone::packet,
};

/// The maximum length of a message, unless it has a single record. It is also the range
/// of compression pointers (RFC 1035, section 4.1.4).
const MESSAGE_OCTETS: usize = 16_384;

/// The number of octets that are sent at once. They are several messages, since each
/// time the writer is woken, which takes processor time from queries.
const BUFFER_OCTETS: usize = 4 * MESSAGE_OCTETS;

/// Packs records into messages.
pub struct MessagePacker<F> {
    /// The current message.
    message: Vec<u8>,
    /// The number of its records.
    records: u16,
    /// The position of the last name in it that is not a pointer.
    owner: Option<u16>,
    /// The position of the origin in it.
    origin: Option<u16>,
    /// The labels of the last name before the origin.
    labels: Vec<u8>,
    /// The header of each message.
    header: Vec<u8>,
    /// The additional records at the end of each message.
    additional: Vec<u8>,
    origin_name: Name,
    /// The origin without compression.
    origin_octets: Vec<u8>,
    /// The complete messages that are not yet sent.
    buffer: Vec<u8>,
    signature: Option<Signature>,
    is_first: bool,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> Option<()>> MessagePacker<F> {
    /// `message` is the first message without its records, and `additional` contains
    /// the additional records at the end of each message. `send` receives several
    /// messages at once, each with its length before it; it returns `None` to end the
    /// transfer.
    pub fn new(
        message: Vec<u8>,
        additional: Vec<u8>,
        origin: &Name,
        signature: Option<Signature>,
        send: F,
    ) -> Self {
        let mut header = message[..HEADER].to_vec();
        // Only the first message has the question (RFC 5936, section 2.2.1).
        header[4..6].copy_from_slice(&[0, 0]);
        Self {
            message,
            records: 0,
            owner: None,
            origin: None,
            labels: Vec::new(),
            header,
            additional,
            origin_octets: packet::name(origin),
            origin_name: origin.clone(),
            buffer: Vec::with_capacity(BUFFER_OCTETS),
            signature,
            is_first: true,
            send,
        }
    }

    /// Adds a record of the zone.
    pub fn add_record(&mut self, record: &Record) -> Option<()> {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        record.emit(&mut encoder).ok()?;
        let labels = record.name.iter().count();
        let below_origin = labels.checked_sub(self.origin_name.iter().count())?;
        let labels = record.name.iter().take(below_origin);
        let labels: usize = labels.map(|label| 1 + label.len()).sum();
        let name = labels + self.origin_octets.len();
        self.add(octets.get(..labels)?, octets.get(name..)?)
    }

    /// Adds a record. `labels` are the labels of its name before the origin, and
    /// `record` is the rest of it. If it does not fit, it begins a new message.
    pub fn add(&mut self, labels: &[u8], record: &[u8]) -> Option<()> {
        let max = labels.len() + self.origin_octets.len() + record.len();
        let octets = self.message.len() + max + self.additional.len();
        if self.records > 0 && octets > MESSAGE_OCTETS {
            self.end_message()?;
        }
        match self.owner {
            Some(owner) if self.labels == labels => self.message.extend(pointer(owner)),
            _ => self.write_name(labels),
        }
        self.message.extend(record);
        self.records += 1;
        Some(())
    }

    /// Writes the labels of a name, and the origin or a pointer to it.
    fn write_name(&mut self, labels: &[u8]) {
        self.owner = position(&self.message);
        self.labels.clear();
        self.labels.extend(labels);
        self.message.extend(labels);
        match self.origin {
            Some(origin) => self.message.extend(pointer(origin)),
            None => {
                self.origin = position(&self.message);
                self.message.extend(&self.origin_octets);
            }
        }
    }

    fn end_message(&mut self) -> Option<()> {
        let next = Vec::with_capacity(MESSAGE_OCTETS);
        let mut message = std::mem::replace(&mut self.message, next);
        message[6..8].copy_from_slice(&self.records.to_be_bytes());
        message.extend(&self.additional);
        let is_first = std::mem::take(&mut self.is_first);
        match &mut self.signature {
            Some(signature) if is_first => signature.sign(&mut message)?,
            Some(signature) => signature.sign_next(&mut message)?,
            None => {}
        }
        if self.buffer.len() + 2 + message.len() > BUFFER_OCTETS {
            self.flush()?;
        }
        push_framed(&mut self.buffer, &message);
        self.message.extend(&self.header);
        (self.records, self.owner, self.origin) = (0, None, None);
        Some(())
    }

    /// Completes the last message, and sends the rest.
    pub fn end(mut self) -> Option<()> {
        self.end_message()?;
        self.flush()
    }

    fn flush(&mut self) -> Option<()> {
        let next = Vec::with_capacity(BUFFER_OCTETS);
        (self.send)(std::mem::replace(&mut self.buffer, next))
    }
}

/// The position of the next octet, if a pointer can refer to it.
fn position(message: &[u8]) -> Option<u16> {
    let position = u16::try_from(message.len()).ok();
    position.filter(|position| usize::from(*position) < MESSAGE_OCTETS)
}

/// A compression pointer to the name at this position (RFC 1035, section 4.1.4).
fn pointer(position: u16) -> [u8; 2] {
    (0xc000 | position).to_be_bytes()
}
