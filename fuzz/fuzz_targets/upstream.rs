//! Any octets as what an upstream resolver says: as they are, or behind a header
//! and a question that fit the query. What is read of them goes to the client.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};

use arbitrary::Arbitrary;
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::NULL},
};
use libfuzzer_sys::fuzz_target;
use param_daemon::server::{
    forward::{
        self,
        response::{self, Response, UpstreamReply},
    },
    policy::{
        client::Client,
        cookie::Cookies,
        source::{Source, Transport},
    },
    reply::{Reply, ServerInfo},
    wire,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    by_tcp: bool,
    /// The payload size of the client's OPT record, if it has one.
    payload: Option<u16>,
    content: Content<'a>,
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Any(&'a [u8]),
    Fitting {
        flags: [u8; 2],
        counts: [u8; 3],
        records: &'a [u8],
    },
}

const ID: [u8; 2] = [0, 7];

fuzz_target!(|input: Input<'_>| {
    let transport = match input.by_tcp {
        true => Transport::Tcp,
        false => Transport::Udp,
    };
    let packet = packet(input.payload);
    let asked = wire::Query::read(&packet).expect("a plain query");
    let query = forward::UpstreamQuery::new(&asked);
    let octets = match input.content {
        Content::Any(octets) => octets.to_vec(),
        Content::Fitting {
            flags,
            counts,
            records,
        } => {
            let [an, ns, ar] = counts;
            let mut octets = ID.to_vec();
            octets.extend([flags[0] | 0x80, flags[1], 0, 1, 0, an, 0, ns, 0, ar]);
            octets.extend(&query.question);
            octets.extend(records);
            octets
        }
    };
    let UpstreamReply::Response(response) = response::read(&octets, &query, ID) else {
        return;
    };
    check(&octets, &query, &response);
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_711));
    let source = Source::new(client, transport, client.ip());
    let cookies = Cookies::configured([7; 16], None).snapshot(0);
    let reply = Reply {
        client: &Client::of(&asked, &source, None, &cookies),
        query: &asked,
        cookies: &cookies,
        server_info: &ServerInfo::default(),
        signature: None,
        depends_on_subnet: false,
    };
    let has_edns = input.payload.is_some();
    let Response {
        message,
        code,
        errors,
    } = response;
    let length = message.len();
    let mut octets = Vec::new();
    reply.forwarded(&message, code, &errors, &mut octets);
    let reply = octets;
    let most = match (transport, input.payload) {
        (Transport::Tcp | Transport::Tls, _) => usize::from(u16::MAX),
        (Transport::Udp, payload) => usize::from(payload.unwrap_or(512).clamp(512, 1_232)),
    };
    assert!(reply.len() <= most, "{} of {most} octets", reply.len());
    assert_eq!(reply[..2], [0x12, 0x34], "the ID is the client's");
    let is_truncated = reply[2] & 2 != 0;
    assert!(!is_truncated || transport == Transport::Udp);
    assert!(!is_truncated || length + 11 > most, "there was room");
    let opts = usize::from(has_edns);
    assert_eq!(opt_records(&reply), opts, "the OPT record is ours");
});

/// What has been taken out of the message is its OPT record, and nothing else.
fn check(octets: &[u8], query: &forward::UpstreamQuery, response: &Response) {
    let Response { message, .. } = response;
    assert_eq!(opt_records(message), 0);
    // Without a question there is nothing but a code.
    if octets[5] == 0 {
        assert!(names(message).len() == 1 && !response.is_answer());
        return;
    }
    // Reading it again changes nothing.
    let again = response::read(message, query, ID);
    let expected = Response {
        message: message.clone(),
        code: ResponseCode::from_low(message[3]),
        errors: Vec::new(),
    };
    assert_eq!(again, UpstreamReply::Response(expected));
    if !points_to_names(octets) {
        return;
    }
    // What could be understood before can be understood, and is the same.
    let Ok(before) = Message::from_vec(octets) else {
        return;
    };
    let after = Message::from_vec(message).expect("it could be read before");
    assert_eq!(known(after.answers), known(before.answers));
    assert_eq!(known(after.authorities), known(before.authorities));
    assert_eq!(known(after.additionals), known(before.additionals));
    assert_eq!(after.edns, None);
}

/// The records, without data that the parser takes for octets: where there are
/// names in it, these are mended nevertheless.
fn known(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        if let RData::Unknown { rdata, .. } = &mut record.data {
            *rdata = NULL::new();
        }
    }
    records
}

/// Whether all that may be a pointer points to a label of the question or of a
/// record's owner. Others read lengths and counts as labels, which nobody means,
/// and which are not the same where something is taken out.
fn points_to_names(message: &[u8]) -> bool {
    let mut labels = Vec::new();
    for start in names(message) {
        let mut place = start;
        while matches!(message[place], 1..=63) {
            labels.push(place);
            place += 1 + usize::from(message[place]);
        }
    }
    let mut pairs = message[12..].windows(2);
    pairs.all(|pair| match pair {
        [high @ 0xc0..=0xff, low] => {
            let target = usize::from(high & 0x3f) << 8 | usize::from(*low);
            labels.contains(&target)
        }
        _ => true,
    })
}

/// How many OPT records there are.
fn opt_records(message: &[u8]) -> usize {
    let questions = usize::from(message[5]);
    let is_opt = |start: &usize| {
        let end = end_of_name(message, *start);
        message[end..end + 2] == [0, 41]
    };
    names(message)
        .into_iter()
        .skip(questions)
        .filter(is_opt)
        .count()
}

/// Where the names of the question and of the records begin in a message that ends
/// where its records do.
fn names(message: &[u8]) -> Vec<usize> {
    let count =
        |place: usize| usize::from(u16::from_be_bytes([message[place], message[place + 1]]));
    let mut names = Vec::new();
    let mut place = 12;
    for _ in 0..count(4) {
        names.push(place);
        place = end_of_name(message, place) + 4;
    }
    for _ in 0..count(6) + count(8) + count(10) {
        names.push(place);
        place = end_of_name(message, place);
        place += 10 + count(place + 8);
    }
    assert_eq!(place, message.len(), "it ends where its records do");
    names
}

fn end_of_name(message: &[u8], mut place: usize) -> usize {
    loop {
        match message[place] {
            0 => return place + 1,
            length @ 1..=63 => place += 1 + usize::from(length),
            _ => return place + 2,
        }
    }
}

fn packet(payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("a.eXample.").expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.edns = Some(edns);
    }
    message.to_vec().expect("a query can be written")
}
