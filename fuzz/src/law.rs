//! What must hold, whatever the packet.

use std::collections::BTreeSet;

use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use param_daemon::{
    network::Hostname,
    server::policy::{
        cookie::{self, CookieStatus},
        source::{Source, Transport},
    },
};

use crate::service::{Replies, Service};

/// What a reply may have more than its query before its source is verified: a
/// server cookie of 16 octets, and the name of this server with its option's
/// head, for those who ask for it.
const SERVER_COOKIE: usize = 16;
const NSID: usize = 255;

/// Sends the packet and checks what comes of it. Gives the reply.
pub fn ask(service: &Service, packet: &[u8], source: Source) -> Option<Message> {
    let before = service.changes();
    let replies = service.ask(packet, source);
    let changed = service.changes() != before;
    let asked = Asked::read(service, packet, source);
    if changed {
        assert!(asked.may_change, "changed without proof");
        check_networks(service);
    }
    // Only what has a header, and is no answer, is answered.
    let is_query = packet.len() >= 12 && packet[2] & 0x80 == 0;
    assert_eq!(is_query, !matches!(replies, Replies::None), "an answer");
    match replies {
        Replies::None => None,
        Replies::One(reply) => Some(check_reply(&asked, packet, source, &reply)),
        Replies::Transfer(messages) => {
            check_transfer(packet, source, &messages);
            None
        }
    }
}

/// What a packet is, as far as it can be understood.
struct Asked {
    request: Option<Message>,
    /// Whether it asks for a name that registers.
    registers: bool,
    /// Whether it comes from where it says.
    is_verified: bool,
    /// Whether anything may change because of it.
    may_change: bool,
    /// What a reply may have more than the packet.
    allowance: usize,
}

impl Asked {
    fn read(service: &Service, packet: &[u8], source: Source) -> Self {
        let request = Message::from_vec(packet).ok();
        let edns = request.as_ref().and_then(|request| request.edns.as_ref());
        let cookie = match edns.and_then(|edns| edns.option(EdnsCode::Cookie)) {
            Some(EdnsOption::Unknown(_, octets)) => {
                let cookies = service.cookies.snapshot(cookie::now());
                Some(cookies.verify(octets, &source.ip))
            }
            _ => None,
        };
        let registers = request.as_ref().is_some_and(|it| registers(service, it));
        // Not asked of the service: it might be wrong.
        let is_verified = source.transport != Transport::Udp
            || source.ip.is_loopback()
            || matches!(cookie, Some(CookieStatus::Valid { .. }));
        let access = &service.access;
        let is_update = request
            .as_ref()
            .is_some_and(|request| request.metadata.op_code == OpCode::Update);
        let registers = registers && !is_update;
        let may_register = registers && access.register.allows(source.ip, None);
        let may_update = is_update && access.update.allows(source.ip, None);
        let edns = request.as_ref().and_then(|request| request.edns.as_ref());
        let wants_name = edns.is_some_and(|edns| edns.option(EdnsCode::NSID).is_some());
        let mut allowance = 0;
        if matches!(
            cookie,
            Some(CookieStatus::Unverified | CookieStatus::Valid { .. })
        ) {
            allowance += SERVER_COOKIE;
        }
        if wants_name {
            allowance += NSID;
        }
        Self {
            registers,
            is_verified,
            may_change: is_verified && (may_register || may_update),
            allowance,
            request,
        }
    }

    /// How many octets the reply may have.
    fn limit(&self, source: Source) -> usize {
        if source.transport != Transport::Udp {
            return usize::from(u16::MAX);
        }
        let edns = self.request.as_ref().and_then(|it| it.edns.as_ref());
        edns.map_or(512, |edns| {
            usize::from(edns.max_payload().clamp(512, 1_232))
        })
    }
}

fn registers(service: &Service, request: &Message) -> bool {
    let Some(query) = request.queries.first() else {
        return false;
    };
    let name = query.name();
    service
        .zone_of(name)
        .is_some_and(|(_, zone)| zone.registers(&zone.parse(name), query.query_type()))
}

fn check_reply(asked: &Asked, packet: &[u8], source: Source, reply: &[u8]) -> Message {
    let message = Message::from_vec(reply).expect("a reply can be understood");
    assert_eq!(reply[..2], packet[..2], "the ID is the query's");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert_eq!(
        reply[2] & 0x78,
        packet[2] & 0x78,
        "the opcode is the query's"
    );
    let limit = asked.limit(source);
    assert!(reply.len() <= limit, "{} of {limit} octets", reply.len());
    if message.metadata.truncation {
        assert_eq!(source.transport, Transport::Udp, "truncated by TCP");
    }
    if let (Some(request), Some(question)) = (&asked.request, message.queries.first()) {
        let asked = request.queries.first();
        assert_eq!(asked, Some(question), "the question is the query's");
    }
    let is_udp = source.transport == Transport::Udp;
    if is_udp && asked.registers && !asked.is_verified {
        let most = (packet.len() + asked.allowance) * 135 / 100;
        assert!(reply.len() <= most, "{} of {most} octets", reply.len());
    }
    message
}

/// A transfer is for loopback addresses by TCP, and begins and ends with the
/// same SOA.
fn check_transfer(packet: &[u8], source: Source, messages: &[Vec<u8>]) {
    assert_ne!(source.transport, Transport::Udp);
    assert!(source.ip.is_loopback());
    let mut records = Vec::new();
    for octets in messages {
        assert!(octets.len() <= usize::from(u16::MAX));
        assert_eq!(octets[..2], packet[..2], "the ID is the query's");
        let message = Message::from_vec(octets).expect("a message can be understood");
        records.extend(message.answers);
    }
    let (first, last) = (records.first(), records.last());
    assert!(records.len() > 1 && first == last, "no whole zone");
    let is_soa = first.is_some_and(|record| record.record_type() == RecordType::SOA);
    assert!(is_soa, "a zone begins with its SOA");
}

/// No two hosts have one ID, no host has two, and each ID is one of its
/// sequence.
fn check_networks(service: &Service) {
    for published in &service.zones {
        let mut hosts = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for registration in published.contents().registrations {
            let rules = &published.zone.rules;
            let rule = rules
                .sequences
                .iter()
                .find(|rule| rule.name == registration.sequence)
                .expect("the sequence is the zone's");
            assert!(rule.contains(registration.number));
            let host: Hostname = registration.host.parse().expect("a host is a label");
            assert_eq!(host.as_str(), registration.host);
            assert!(!published.zone.is_reserved(&host));
            assert!(ids.insert((registration.sequence, registration.number)));
            assert!(hosts.insert(registration.host));
        }
    }
}
