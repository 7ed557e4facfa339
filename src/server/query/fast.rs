//! The short way of a query: from the packet to the reply without a message in
//! between, for plain questions about registered peers. Reads and heartbeats are
//! nearly all that a service is asked.
//!
//! It allocates nothing, takes no lock and logs nothing. It says the same as the
//! long way ([`Handler`](super::handler::Handler)); whatever it is not sure
//! of it leaves to that one, and then it has changed nothing.

use std::sync::Arc;

use hickory_proto::rr::RecordType;
use smallvec::SmallVec;

use super::{
    client::{Client, Says},
    register::Asking,
    shared::Inner,
};
use crate::{
    network::{Holder, Network, Peer, Time},
    registry::Published,
    server::{
        policy::{
            cookie::{self, Moment},
            limits::Verdict,
            source::Source,
        },
        wire::{HEADER, PACKETS, Query},
    },
    zone::{Called, Counts, Found, Ready, ReadyName},
};

/// What has become of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastOutcome {
    /// The reply is written.
    Reply,
    /// No reply is to be sent.
    Silence,
    /// It is for the long way.
    Declined,
}

/// A plain question, about a name of one or two labels in a zone.
pub struct Question<'a> {
    query: Query<'a>,
    laid: &'a Laid,
    /// Its name, if a peer may have it.
    name: Option<ReadyName<'a>>,
    /// Where it stands whom that calls, as soon as it has been looked for.
    found: Option<Found<'a>>,
}

/// The questions of a batch of packets. They are written where they stay: an
/// array that was set up for a whole batch and returned cost more than to read
/// the few packets that mostly come at once.
#[derive(Default)]
pub struct Questions<'a>(SmallVec<[Option<Question<'a>>; PACKETS]>);

impl<'a> Questions<'a> {
    /// That of the packet at this place, if it has a plain one.
    pub fn at(&self, place: usize) -> Option<&Question<'a>> {
        self.0.get(place)?.as_ref()
    }
}

/// A zone, laid out.
struct Laid {
    /// Its place in the registry.
    place: usize,
    published: Arc<Published>,
    ready: Ready,
}

impl Laid {
    /// Lays it out as it is in that state of its network.
    fn lay(&mut self, network: Arc<Network>) {
        self.ready = Ready::new(self.published.zone.clone(), network);
    }
}

/// The zones, laid out for one thread.
pub struct FastPath {
    inner: Arc<Inner>,
    /// The one with the longest origin first.
    zones: Vec<Laid>,
    now: Time,
    cookies: Moment,
}

impl FastPath {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let zones = inner.registry.zones().iter().cloned().enumerate();
        let lay = |(place, published): (usize, Arc<Published>)| Laid {
            place,
            ready: Ready::new(published.zone.clone(), published.network()),
            published,
        };
        let mut zones: Vec<_> = zones.map(lay).collect();
        zones.sort_by_key(|laid| std::cmp::Reverse(laid.ready.origin_octets()));
        Self {
            now: inner.clock.now(),
            cookies: inner.cookies.at(cookie::now()),
            inner,
            zones,
        }
    }

    /// Looks at the clock, and lays out the zones that have changed. To be
    /// called before each batch of packets.
    pub fn refresh(&mut self) {
        self.now = self.inner.clock.now();
        self.cookies = self.inner.cookies.at(cookie::now());
        for laid in &mut self.zones {
            if !laid.published.is_current(&laid.ready.network) {
                laid.lay(laid.published.network());
            }
        }
    }

    /// Reads the packets of a batch, and finds the peers that they ask for.
    ///
    /// Peers are anywhere in memory, which answers no sooner than the kernel has
    /// sent a packet: with a million of them, the wait was a fifth of all that a
    /// query costs. So what has to be waited for is fetched for all packets at
    /// once, in loops of so few instructions that a processor looks ahead to
    /// the next ones while it waits; and then the first is answered.
    pub fn read<'a>(
        &'a self,
        packets: impl Iterator<Item = &'a [u8]>,
        questions: &mut Questions<'a>,
    ) {
        questions.0.clear();
        for packet in packets {
            questions.0.push(self.question(packet));
        }
        for question in questions.0.iter_mut().flatten() {
            let ready = &question.laid.ready;
            question.found = question.name.as_ref().and_then(|name| ready.find(name));
        }
        for question in questions.0.iter().flatten() {
            if let Some(found) = &question.found {
                found.fetch();
            }
        }
    }

    #[inline(always)]
    fn question<'a>(&'a self, packet: &'a [u8]) -> Option<Question<'a>> {
        let query = Query::read(packet)?;
        let mut zones = self.zones.iter();
        let in_zone = |laid: &'a Laid| Some((laid, laid.ready.labels(query.name)?));
        let (laid, (first, second)) = zones.find_map(in_zone)?;
        Some(Question {
            query,
            laid,
            name: laid.ready.name(first, second),
            found: None,
        })
    }

    /// Answers a packet, if the short way can: the reply is then in `reply`,
    /// which was empty, and stays so otherwise.
    pub fn answer(&self, packet: &[u8], source: Source, reply: &mut Vec<u8>) -> FastOutcome {
        let mut questions = Questions::default();
        self.read(std::iter::once(packet), &mut questions);
        self.answer_to(questions.at(0), source, reply)
    }

    /// Answers a question of [`read`](Self::read), like
    /// [`answer`](Self::answer).
    pub fn answer_to(
        &self,
        question: Option<&Question<'_>>,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> FastOutcome {
        let short = question.and_then(|question| self.try_answer(question, &source, reply));
        ended(short, reply)
    }

    fn try_answer(
        &self,
        question: &Question<'_>,
        source: &Source,
        reply: &mut Vec<u8>,
    ) -> Option<FastOutcome> {
        let (query, ready) = (&question.query, &question.laid.ready);
        let called = ready.called(question.name.as_ref()?, question.found.as_ref()?)?;
        let client = Client::of(query, &self.cookies, source)?;
        let is_id = called.host().is_none() && registers(query.rtype());
        let without_error = client;
        let client = if is_id { client.with_id() } else { client };
        let counts = self.write(query, ready, &called, &client, reply)?;
        let registers = called.host().filter(|_| registers(query.rtype()));
        if let Some(peer) = registers {
            self.renew(ready, peer, &client)?;
        } else {
            match self
                .inner
                .limits
                .verdict(*source, client.is_proven, self.now)
            {
                Verdict::Send => {}
                Verdict::Drop => return Some(FastOutcome::Silence),
                Verdict::Truncate => {
                    reply.truncate(HEADER + query.question().len());
                    without_error.finish(&self.inner, &Says::Truncated, reply);
                    return Some(FastOutcome::Reply);
                }
            }
        }
        let says = Says::Records {
            counts,
            by_address: registers.is_some(),
        };
        client.finish(&self.inner, &says, reply);
        Some(FastOutcome::Reply)
    }

    /// Writes header, question and records of a reply, if there is room for it
    /// and the client may have it.
    fn write(
        &self,
        query: &Query<'_>,
        ready: &Ready,
        called: &Called<'_>,
        client: &Client<'_>,
        reply: &mut Vec<u8>,
    ) -> Option<Counts> {
        reply.extend(&query.packet[..HEADER + query.question().len()]);
        let counts = ready.write(called, query.rtype(), reply)?;
        let may_query = self.inner.access.query.allows(client.source.ip, None);
        let has_room = reply.len() + client.octets() <= client.room();
        (may_query && has_room).then_some(counts)
    }

    /// The heartbeat, for who may register. `None` where the long way has to
    /// decide: nothing is renewed then.
    fn renew(&self, ready: &Ready, peer: &Peer, client: &Client<'_>) -> Option<()> {
        if !self.may_register(ready, client) {
            return None;
        }
        let lasting = ready.zone.rules.lease;
        let runs = match client.is(&peer.holder)? {
            true => peer.lease.renew(self.now, lasting),
            false => peer.lease.runs(self.now, lasting),
        };
        runs.then_some(())
    }

    /// Whether who asks may register in that zone.
    fn may_register(&self, ready: &Ready, client: &Client<'_>) -> bool {
        client.is_proven
            && self.inner.access.register.allows(client.source.ip, None)
            && ready.zone.register_keys.is_none()
    }

    /// What a question that has no answer yet asks of the registry, if it may.
    pub fn asking(&self, question: &Question<'_>, source: Source) -> Option<Asking> {
        let Laid { place, ready, .. } = question.laid;
        if !registers(question.query.rtype()) {
            return None;
        }
        let (first, second) = ready.labels(question.query.name)?;
        let (host, role) = ready.registers(first, second)?;
        let client = Client::of(&question.query, &self.cookies, &source)?;
        let may_query = self.inner.access.query.allows(source.ip, None);
        if !may_query || !self.may_register(ready, &client) {
            return None;
        }
        Some(Asking {
            place: *place,
            host,
            role,
            asker: Holder {
                source: source.ip,
                address: client.stated()?,
            },
        })
    }

    /// Answers the packet of a host that was registered, with the root nodes that
    /// there were at that moment. As [`answer`](Self::answer) does.
    pub fn granted(
        &mut self,
        place: usize,
        (peer, network): (&Arc<Peer>, &Arc<Network>),
        packet: &[u8],
        source: Source,
        reply: &mut Vec<u8>,
    ) -> FastOutcome {
        self.cookies = self.inner.cookies.at(cookie::now());
        let mut zones = self.zones.iter_mut();
        if let Some(laid) = zones.find(|laid| laid.place == place)
            && !Arc::ptr_eq(&laid.ready.network, network)
        {
            laid.lay(network.clone());
        }
        let short = self.question(packet).and_then(|question| {
            let ready = &question.laid.ready;
            let (_, role) = ready.labels(question.query.name)?;
            let called = Called::Host {
                peer,
                in_role: role.is_some(),
            };
            let client = Client::of(&question.query, &self.cookies, &source)?;
            let counts = self.write(&question.query, ready, &called, &client, reply)?;
            let says = Says::Records {
                counts,
                by_address: true,
            };
            client.finish(&self.inner, &says, reply);
            Some(FastOutcome::Reply)
        });
        ended(short, reply)
    }
}

/// `None` is for the long way. What was begun of a reply is not to be sent.
fn ended(outcome: Option<FastOutcome>, reply: &mut Vec<u8>) -> FastOutcome {
    let short = outcome.unwrap_or(FastOutcome::Declined);
    if short != FastOutcome::Reply {
        reply.clear();
    }
    short
}

/// Whether a query for a host's name registers.
fn registers(rtype: u16) -> bool {
    matches!(RecordType::from(rtype), RecordType::TXT | RecordType::SRV)
}
