//! The short way of a query: from the packet to the reply without a message in
//! between, for plain questions about registered peers. Reads and heartbeats are
//! nearly all that a service is asked.
//!
//! It allocates nothing, takes no lock and logs nothing. It says the same as the
//! long way ([`Handler`](super::handler::Handler)); whatever it is not sure
//! of it leaves to that one, and then it has changed nothing.

use std::{hint::black_box, net::IpAddr, sync::Arc};

use hickory_proto::rr::RecordType;

use super::{
    batch::PACKETS,
    cookie::Cookie,
    handler::Inner,
    limits::Verdict,
    register,
    reply::{UDP_OCTETS, room},
    source::{Source, Transport},
    wire::{self, CD, HEADER, Query, RD},
};
use crate::{
    network::{Holder, Time},
    registry::Published,
    zone::{Called, Counts, Ready, ReadyName},
};

/// What has become of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The reply is written.
    Reply,
    /// No reply is to be sent.
    Silence,
    /// It is for the long way.
    Long,
}

/// A plain question about a peer.
pub struct Question<'a> {
    query: Query<'a>,
    ready: &'a Ready,
    name: ReadyName<'a>,
    /// The peer, where there is one.
    called: Option<Called<'a>>,
}

/// The questions of a batch of packets.
pub struct Questions<'a>([Option<Question<'a>>; PACKETS]);

impl<'a> Questions<'a> {
    /// That of the packet at this place, if it has a plain one.
    pub fn at(&self, place: usize) -> Option<&Question<'a>> {
        self.0.get(place)?.as_ref()
    }
}

/// The zones, laid out for one thread.
pub struct ShortWay {
    inner: Arc<Inner>,
    /// The one with the longest origin first.
    zones: Vec<(Arc<Published>, Ready)>,
    now: Time,
    /// Seconds since 1970, by which cookies are made.
    seconds: u32,
}

impl ShortWay {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let zones = inner.registry.zones().iter().cloned();
        let mut zones: Vec<_> = zones
            .map(|published| {
                let ready = Ready::new(published.zone.clone(), published.network());
                (published, ready)
            })
            .collect();
        zones.sort_by_key(|(_, ready)| std::cmp::Reverse(ready.origin_octets()));
        Self {
            now: inner.clock.now(),
            seconds: super::cookie::now(),
            inner,
            zones,
        }
    }

    /// Looks at the clock, and lays out the zones that have changed. To be
    /// called before each batch of packets.
    pub fn refresh(&mut self) {
        self.now = self.inner.clock.now();
        self.seconds = super::cookie::now();
        for (published, ready) in &mut self.zones {
            if !published.is_current(&ready.network) {
                *ready = Ready::new(published.zone.clone(), published.network());
            }
        }
    }

    /// Reads the packets of a batch, and finds the peers that they ask for.
    ///
    /// Peers are anywhere in memory, which answers no sooner than the kernel has
    /// sent a packet: with a million of them, the wait was a fifth of all that a
    /// query costs. So what has to be waited for is looked at for all packets,
    /// one after the other, before the first is answered. The processor goes on
    /// to the next one meanwhile, and the waits are over at the same time.
    pub fn read<'a>(&'a self, packets: impl Iterator<Item = &'a [u8]>) -> Questions<'a> {
        let mut questions = [const { None }; PACKETS];
        for (place, packet) in questions.iter_mut().zip(packets) {
            *place = self.question(packet);
        }
        for question in questions.iter_mut().flatten() {
            question.called = question.ready.called(question.name);
        }
        for question in questions.iter().flatten() {
            if let Some(Called { peer, .. }) = &question.called {
                black_box((peer.lease.heard(), peer.holder.address));
            }
        }
        Questions(questions)
    }

    fn question<'a>(&'a self, packet: &'a [u8]) -> Option<Question<'a>> {
        let query = Query::read(packet)?;
        self.zones.iter().find_map(|(_, ready)| {
            let (first, second) = ready.labels(query.name)?;
            Some(Question {
                query,
                ready,
                name: ready.name(first, second)?,
                called: None,
            })
        })
    }

    /// Answers a packet, if the short way can: the reply is then in `reply`,
    /// which was empty, and stays so otherwise.
    pub fn answer(&self, packet: &[u8], source: Source, reply: &mut Vec<u8>) -> Short {
        let questions = self.read(std::iter::once(packet));
        self.answer_to(questions.at(0), source, reply)
    }

    /// Answers a question of [`read`](Self::read), like
    /// [`answer`](Self::answer).
    pub fn answer_to(
        &self,
        question: Option<&Question<'_>>,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> Short {
        let short = question.and_then(|question| self.try_answer(question, source, reply));
        let short = short.unwrap_or(Short::Long);
        // What was begun is not to be sent.
        if short != Short::Reply {
            reply.clear();
        }
        short
    }

    fn try_answer(
        &self,
        question: &Question<'_>,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> Option<Short> {
        let Question { query, ready, .. } = *question;
        let called = question.called.as_ref()?;
        reply.extend(&query.packet[..HEADER]);
        reply.extend(query.question());
        let counts = ready.write(called, query.rtype, reply)?;

        let client = Client::of(query, &self.inner, source, self.seconds)?;
        let may_query = self.inner.access.query.allows(client.ip, None);
        if !may_query || reply.len() + client.octets() > client.room() {
            return None;
        }
        let registers = called.by_host && registers(query.rtype);
        if registers {
            self.renew(ready, called, &client)?;
        } else {
            match self.inner.verdict(source, client.is_proven) {
                Verdict::Send => {}
                Verdict::Drop => return Some(Short::Silence),
                Verdict::Truncate => {
                    reply.truncate(HEADER + query.question().len());
                    self.finish(&client, &Says::Truncated, reply);
                    return Some(Short::Reply);
                }
            }
        }
        let says = Says::Records {
            counts,
            by_address: registers,
        };
        self.finish(&client, &says, reply);
        Some(Short::Reply)
    }

    /// The heartbeat, for who may register. `None` where the long way has to
    /// decide: nothing is renewed then.
    fn renew(&self, ready: &Ready, called: &Called<'_>, client: &Client<'_>) -> Option<()> {
        let may = client.is_proven
            && self.inner.access.register.allows(client.ip, None)
            && ready.zone.register_keys.is_none();
        let address = register::stated(client.subnet, client.ip).filter(|_| may)?;
        let asker = Holder {
            source: client.ip,
            address,
        };
        let lasting = ready.zone.rules.lease;
        let peer = called.peer;
        let runs = match peer.holder == asker {
            true => peer.lease.renew(self.now, lasting),
            false => peer.lease.runs(self.now, lasting),
        };
        runs.then_some(())
    }

    /// Sets the header of a reply that has its records, and adds its OPT record.
    fn finish(&self, client: &Client<'_>, says: &Says, reply: &mut Vec<u8>) {
        let query = &client.query;
        // Authoritative, or truncated.
        let (counts, flag, by_address) = match says {
            Says::Records { counts, by_address } => (*counts, 0x04, *by_address),
            Says::Truncated => (Counts::NONE, 0x02, false),
        };
        let recursive = if self.inner.is_recursive() { 0x80 } else { 0 };
        reply[2] = 0x80 | flag | (query.packet[2] & RD);
        reply[3] = recursive | (query.packet[3] & CD);
        reply[6..8].copy_from_slice(&counts.answers.to_be_bytes());
        reply[8..10].copy_from_slice(&[0, 0]);
        let additional = counts.additional + u16::from(query.edns.is_some());
        reply[10..12].copy_from_slice(&additional.to_be_bytes());
        let Some(edns) = &query.edns else {
            return;
        };
        let [p1, p0] = UDP_OCTETS.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        let [l1, l0] = (client.options() as u16).to_be_bytes();
        reply.extend([0, 0, wire::OPT as u8, p1, p0, 0, 0, dnssec_ok, 0, l1, l0]);
        if let Some(subnet) = edns.subnet {
            let [l1, l0] = (subnet.len() as u16).to_be_bytes();
            reply.extend([0, wire::SUBNET as u8, l1, l0]);
            let scope = reply.len() + 3;
            reply.extend(subnet);
            // RFC 7871, section 7.2.1: how much of the address it depends on.
            reply[scope] = if by_address { subnet[2] } else { 0 };
        }
        if let Some(cookie) = client.cookie.client() {
            reply.extend([0, wire::COOKIE as u8, 0, 24]);
            reply.extend(cookie);
            let cookies = &self.inner.cookies;
            reply.extend(cookies.server(cookie, client.ip, self.seconds));
        }
    }
}

/// Whether a query for a host's name registers.
fn registers(rtype: u16) -> bool {
    matches!(RecordType::from(rtype), RecordType::TXT | RecordType::SRV)
}

/// What a reply has besides the question.
enum Says {
    Records {
        counts: Counts,
        /// Whether they depend on the address that was stated.
        by_address: bool,
    },
    /// Nothing: the client is to ask by TCP.
    Truncated,
}

/// Who asks, and what the options of the query say.
struct Client<'p> {
    query: Query<'p>,
    ip: IpAddr,
    transport: Transport,
    cookie: Cookie,
    subnet: Option<(IpAddr, u8)>,
    /// Whether the query comes from where it says.
    is_proven: bool,
}

impl<'p> Client<'p> {
    /// `None` where an option is malformed.
    fn of(query: Query<'p>, inner: &Inner, source: Source, seconds: u32) -> Option<Self> {
        let ip = source.ip();
        let cookie = match query.edns.and_then(|edns| edns.cookie) {
            Some(octets) => inner.cookies.judge(octets, ip, seconds),
            None => Cookie::Missing,
        };
        let subnet = match query.edns.and_then(|edns| edns.subnet) {
            Some(data) => Some(wire::subnet(data)?),
            None => None,
        };
        (cookie != Cookie::Malformed).then_some(Self {
            query,
            ip,
            transport: source.transport,
            cookie,
            subnet,
            is_proven: source.is_proven() || matches!(cookie, Cookie::Good(_)),
        })
    }

    /// How many octets the options of the reply have.
    fn options(&self) -> usize {
        let subnet = self.query.edns.and_then(|edns| edns.subnet);
        let subnet = subnet.map_or(0, |subnet| 4 + subnet.len());
        subnet + self.cookie.client().map_or(0, |_| 4 + 24)
    }

    /// How many octets the OPT record of the reply has, if there is one.
    fn octets(&self) -> usize {
        self.query.edns.map_or(0, |_| 11 + self.options())
    }

    /// How many octets the reply may have.
    fn room(&self) -> usize {
        let payload = self.query.edns.map(|edns| edns.payload);
        room(self.transport, payload)
    }
}
