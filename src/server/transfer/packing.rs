//! Records into the messages of a transfer (RFC 5936, section 2.2).
//!
//! hickory makes the records that are not peers'. Their names are put here: a zone of a million peers has sixteen
//! million records, and all that they can share is the name before, or the origin.

use hickory_proto::{
    rr::{Name, Record},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use crate::{
    server::{
        policy::tsig::Signature,
        wire::{HEADER, framed},
    },
    zone::packet,
};

/// How many octets a message may have, unless it is of a single record. A name can
/// point no further back than that (RFC 1035, section 4.1.4).
const MESSAGE_OCTETS: usize = 16_384;

/// How many octets are written at once: several messages, since with each time
/// the writer is woken, and takes a moment of the processor from queries.
const WRITTEN_OCTETS: usize = 4 * MESSAGE_OCTETS;

/// The message that is being made, and those before it.
pub struct Packing<F> {
    message: Vec<u8>,
    /// How many records it has.
    records: u16,
    /// Where its last name stands that is not a pointer, and where the origin.
    owner: Option<u16>,
    origin: Option<u16>,
    /// What the last name has before the origin.
    labels: Vec<u8>,
    /// What all messages have: a header, and additional records behind all others.
    header: Vec<u8>,
    additional: Vec<u8>,
    /// The origin, spelt out.
    origin_name: Name,
    origin_octets: Vec<u8>,
    /// The messages that are made and not yet handed on.
    made: Vec<u8>,
    signature: Option<Signature>,
    is_first: bool,
    hand_on: F,
}

impl<F: FnMut(Vec<u8>) -> Option<()>> Packing<F> {
    /// `message` is the first message without its records, and `additional` what all
    /// end with. `hand_on` is given several messages at once, each with its length;
    /// `None` ends it all.
    pub fn new(
        message: Vec<u8>,
        additional: Vec<u8>,
        origin: &Name,
        signature: Option<Signature>,
        hand_on: F,
    ) -> Self {
        let mut header = message[..HEADER].to_vec();
        // The question is in the first one only (RFC 5936, section 2.2.1).
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
            made: Vec::with_capacity(WRITTEN_OCTETS),
            signature,
            is_first: true,
            hand_on,
        }
    }

    /// Adds a record of the zone.
    pub fn add_record(&mut self, record: &Record) -> Option<()> {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        record.emit(&mut encoder).ok()?;
        let labels = record.name.iter().count();
        let before = labels.checked_sub(self.origin_name.iter().count())?;
        let before = record.name.iter().take(before);
        let before: usize = before.map(|label| 1 + label.len()).sum();
        let behind = before + self.origin_octets.len();
        self.add(octets.get(..before)?, octets.get(behind..)?)
    }

    /// Adds a record, which is given without its name; `labels` are what that has
    /// before the origin. Where it has no room, it goes to the next message.
    pub fn add(&mut self, labels: &[u8], record: &[u8]) -> Option<()> {
        let most = labels.len() + self.origin_octets.len() + record.len();
        let octets = self.message.len() + most + self.additional.len();
        if self.records > 0 && octets > MESSAGE_OCTETS {
            self.end_message()?;
        }
        match self.owner {
            Some(place) if self.labels == labels => self.message.extend(pointer(place)),
            _ => self.name(labels),
        }
        self.message.extend(record);
        self.records += 1;
        Some(())
    }

    /// Spells out a name, but for the origin where that stands already.
    fn name(&mut self, labels: &[u8]) {
        self.owner = place(&self.message);
        self.labels.clear();
        self.labels.extend(labels);
        self.message.extend(labels);
        match self.origin {
            Some(place) => self.message.extend(pointer(place)),
            None => {
                self.origin = place(&self.message);
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
        if self.made.len() + 2 + message.len() > WRITTEN_OCTETS {
            self.hand_on()?;
        }
        framed(&mut self.made, &message);
        self.message.extend(&self.header);
        (self.records, self.owner, self.origin) = (0, None, None);
        Some(())
    }

    /// Ends the last message, and hands on what there is.
    pub fn end(mut self) -> Option<()> {
        self.end_message()?;
        self.hand_on()
    }

    fn hand_on(&mut self) -> Option<()> {
        let next = Vec::with_capacity(WRITTEN_OCTETS);
        (self.hand_on)(std::mem::replace(&mut self.made, next))
    }
}

/// Where the next octet stands, if a name can point there.
fn place(message: &[u8]) -> Option<u16> {
    let place = u16::try_from(message.len()).ok();
    place.filter(|place| usize::from(*place) < MESSAGE_OCTETS)
}

/// A name that stands elsewhere (RFC 1035, section 4.1.4).
fn pointer(place: u16) -> [u8; 2] {
    (0xc000 | place).to_be_bytes()
}
