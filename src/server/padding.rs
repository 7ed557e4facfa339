//! Padding of replies by TLS (RFC 7830), so that their length does not tell whoever
//! watches the connection what they are about.

use super::forward::record::{self, Record};
use super::wire::{HEADER, OPT};

/// Replies are padded to a multiple of so many octets (RFC 8467, section 4.1).
const BLOCK: usize = 468;

/// The code of the PADDING option.
pub const PADDING: u16 = 12;

/// How many octets an option has before its data.
const OPTION: usize = 4;

/// Pads a message whose last record is its OPT record, if it has room for that.
/// A signature of so many octets follows it, and `limit` is what it may have before
/// that.
pub fn pad(message: &mut Vec<u8>, signature: usize, limit: usize) {
    let Some(length_at) = options_length(message) else {
        return;
    };
    let bare = message.len() + OPTION;
    let Some(most) = limit.checked_sub(bare) else {
        return;
    };
    let padding = (bare + signature).next_multiple_of(BLOCK) - (bare + signature);
    let padding = padding.min(most);
    let [c1, c0] = PADDING.to_be_bytes();
    let [p1, p0] = (padding as u16).to_be_bytes();
    message.extend([c1, c0, p1, p0]);
    message.resize(message.len() + padding, 0);
    let options = message.len() - (length_at + 2);
    message[length_at..length_at + 2].copy_from_slice(&(options as u16).to_be_bytes());
}

/// Where the length of the options stands in a message that ends with its OPT
/// record.
fn options_length(message: &[u8]) -> Option<usize> {
    let (header, _) = message.split_first_chunk::<HEADER>()?;
    let count = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
    let mut place = HEADER;
    for _ in 0..count(4) {
        // The type and the class stand behind the name.
        place = record::end_of_name(message, place)? + 4;
    }
    while place < message.len() {
        let record = Record::read(message, place)?;
        place = record.data.end;
        if record.rtype == OPT && place == message.len() {
            return Some(record.data.start - 2);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Edns, Message, MessageType, OpCode, Query},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{
                TXT,
                opt::{EdnsCode, EdnsOption},
            },
        },
    };
    use proptest::prelude::*;

    use super::*;

    fn message(text: usize, has_edns: bool) -> Message {
        let owner = Name::from_ascii("peer-1.test.internal.").unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(owner.clone(), RecordType::TXT));
        let data = TXT::from_bytes(vec![&*vec![b'x'; text.min(255)]; 1 + text / 255]);
        message.add_answer(Record::from_rdata(owner, 0, RData::TXT(data)));
        if has_edns {
            let mut edns = Edns::new();
            let cookie = EdnsOption::Unknown(10, vec![1; 24]);
            edns.options_mut().insert(cookie);
            message.edns = Some(edns);
        }
        message
    }

    proptest! {
        #[test]
        fn a_message_is_a_multiple_of_the_block_and_says_the_same(
            text in 0usize..3_000,
            further in 0usize..200,
        ) {
            let before = message(text, true);
            let mut octets = before.to_vec().unwrap();
            pad(&mut octets, further, 65_535 - further);
            prop_assert_eq!((octets.len() + further) % BLOCK, 0);
            let mut after = Message::from_vec(&octets).unwrap();
            let options = after.edns.as_mut().unwrap().options_mut();
            prop_assert!(options.get(EdnsCode::Padding).is_some());
            options.remove(EdnsCode::Padding);
            prop_assert_eq!(after.to_vec().unwrap(), before.to_vec().unwrap());
        }

        #[test]
        fn no_message_becomes_longer_than_it_may(text in 0usize..3_000, room in 0usize..600) {
            let mut octets = message(text, true).to_vec().unwrap();
            let limit = octets.len() + room;
            pad(&mut octets, 0, limit);
            prop_assert!(octets.len() <= limit);
            prop_assert!(Message::from_vec(&octets).is_ok());
        }

        #[test]
        fn no_octets_make_it_panic(mut octets in prop::collection::vec(any::<u8>(), 0..200)) {
            pad(&mut octets, 0, 65_535);
        }
    }

    #[test]
    fn what_has_no_opt_record_stays_as_it_is() {
        let before = message(10, false).to_vec().unwrap();
        let mut octets = before.clone();
        pad(&mut octets, 0, 65_535);
        assert_eq!(octets, before);
    }
}
