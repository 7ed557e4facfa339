//! The published state as one thread sees it, and queries read in it.

use std::{cmp::Reverse, sync::Arc};

use smallvec::SmallVec;

use crate::{
    clock::Clock,
    network::Time,
    registry::{PublishedZone, Registry},
    server::{
        policy::cookie::{self, CookieState, Cookies},
        wire::{PACKETS, Query},
    },
    zone::{Location, Lookup, PeerName, ZoneView},
};

/// The zones in their states, the time, and the secrets of cookies at that time.
pub struct Snapshot {
    /// The one with the longest origin first.
    zones: Vec<ZoneState>,
    pub now: Time,
    pub cookies: CookieState,
}

/// A zone in one state.
pub struct ZoneState {
    /// Its place in the registry.
    pub place: usize,
    published: Arc<PublishedZone>,
    pub view: Arc<ZoneView>,
}

/// A query, and what its name stands for so far as that is known.
pub struct QueryInZone<'a> {
    pub query: Query<'a>,
    /// The zone that the name is in; `None` for a name outside all zones.
    pub zone: Option<&'a ZoneState>,
    /// Its name, if a peer may have it.
    pub name: Option<PeerName<'a>>,
    location: Option<Location<'a>>,
}

/// The queries of a batch of packets; none where a packet is to be read by hickory's
/// parser. They are written where they stay: an array that was set up for a whole
/// batch and returned cost more than to read the few packets that mostly come at
/// once.
#[derive(Default)]
pub struct Queries<'a>(SmallVec<[Option<QueryInZone<'a>>; PACKETS]>);

impl<'a> Queries<'a> {
    /// That of the packet at this place.
    pub fn at(&self, place: usize) -> Option<&QueryInZone<'a>> {
        self.0.get(place)?.as_ref()
    }
}

impl<'a> QueryInZone<'a> {
    /// The registered peer that the name stands for.
    #[inline(always)]
    pub fn lookup(&self) -> Option<Lookup<'a>> {
        let view = &self.zone?.view;
        view.lookup(self.name.as_ref()?, self.location.as_ref()?)
    }
}

impl Snapshot {
    pub fn new(registry: &Registry, cookies: &Cookies, clock: &Clock) -> Self {
        let zones = registry.zones().iter().cloned().enumerate();
        let zones = zones.map(|(place, published)| ZoneState {
            place,
            view: published.view(),
            published,
        });
        let mut zones: Vec<_> = zones.collect();
        zones.sort_by_key(|zone| Reverse(zone.view.zone.origin.len()));
        Self {
            zones,
            now: clock.now(),
            cookies: cookies.at(cookie::now()),
        }
    }

    /// Looks at the clock, and takes the states that have changed. To be called before
    /// each batch of packets.
    pub fn refresh(&mut self, cookies: &Cookies, clock: &Clock) {
        self.now = clock.now();
        self.cookies = cookies.at(cookie::now());
        for zone in &mut self.zones {
            if !zone.published.is_current(&zone.view) {
                zone.view = zone.published.view();
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
    pub fn read<'a>(&'a self, packets: impl Iterator<Item = &'a [u8]>, queries: &mut Queries<'a>) {
        queries.0.clear();
        for packet in packets {
            let query = Query::read(packet);
            queries.0.push(query.map(|query| self.in_zone(query)));
        }
        for query in queries.0.iter_mut().flatten() {
            query.location = location(query);
        }
        for query in queries.0.iter().flatten() {
            if let Some(location) = &query.location {
                location.prefetch();
            }
        }
    }

    /// The query, with what its name stands for.
    pub fn find<'a>(&'a self, query: Query<'a>) -> QueryInZone<'a> {
        let mut query = self.in_zone(query);
        query.location = location(&query);
        query
    }

    #[inline(always)]
    fn in_zone<'a>(&'a self, query: Query<'a>) -> QueryInZone<'a> {
        let mut zones = self.zones.iter();
        let in_zone = |zone: &'a ZoneState| Some((zone, zone.view.below(query.name)?));
        let found = zones.find_map(in_zone);
        QueryInZone {
            zone: found.map(|(zone, _)| zone),
            name: found.and_then(|(zone, below)| zone.view.peer_name(below)),
            location: None,
            query,
        }
    }
}

/// Where the peer is that the query asks for.
#[inline(always)]
fn location<'a>(query: &QueryInZone<'a>) -> Option<Location<'a>> {
    query.zone?.view.locate(query.name.as_ref()?)
}
