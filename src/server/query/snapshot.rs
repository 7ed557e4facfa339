//! The published state as one thread sees it, and the queries read against it.

use std::{cmp::Reverse, sync::Arc};

use smallvec::SmallVec;

use crate::{
    clock::Clock,
    network::Time,
    registry::{PublishedZone, Registry, Vouching},
    server::{
        policy::cookie::{self, CookieSnapshot, Cookies},
        wire::{BATCH_SIZE, Query},
    },
    zone::{Location, Lookup, PeerName, ZoneView},
};

/// The zones, the time, and the cookie secrets at one moment.
pub struct Snapshot {
    /// The zones, the one with the longest origin first.
    zones: Vec<ZoneState>,
    pub now: Time,
    /// Whether this service may renew leases and answer for them, which a replica may
    /// not without contact with the writer.
    pub may_renew: bool,
    pub cookies: CookieSnapshot,
    vouching: Arc<Vouching>,
}

/// A zone at one moment.
pub struct ZoneState {
    /// The index in the registry.
    pub index: usize,
    published: Arc<PublishedZone>,
    pub view: Arc<ZoneView>,
}

/// A query, the zone of its name, and the location of the peer with that name.
pub struct ZoneQuery<'a> {
    pub query: Query<'a>,
    /// The zone of the name; `None` for a name outside all zones.
    pub zone: Option<&'a ZoneState>,
    /// The name, if a peer can have it.
    pub name: Option<PeerName<'a>>,
    location: Option<Location<'a>>,
}

/// The queries of a batch of packets; `None` for a packet that takes the slow path.
/// They are written in place: to initialize and return an array for a whole batch
/// took longer than to read the few packets that usually arrive together.
#[derive(Default)]
pub struct Queries<'a>(SmallVec<[Option<ZoneQuery<'a>>; BATCH_SIZE]>);

impl<'a> Queries<'a> {
    /// The query of the packet with this index.
    pub fn at(&self, index: usize) -> Option<&ZoneQuery<'a>> {
        self.0.get(index)?.as_ref()
    }
}

impl<'a> ZoneQuery<'a> {
    /// Looks up the registered peer with the name.
    #[inline(always)]
    pub fn lookup(&self) -> Option<Lookup<'a>> {
        let view = &self.zone?.view;
        view.lookup(self.name.as_ref()?, self.location.as_ref()?)
    }

    /// Locates the peer with the name.
    #[inline(always)]
    fn locate(&mut self) {
        let zone = self.zone.zip(self.name.as_ref());
        self.location = zone.and_then(|(zone, name)| zone.view.locate(name));
    }
}

impl Snapshot {
    pub fn new(registry: &Registry, cookies: &Cookies, clock: &Clock) -> Self {
        let zones = registry.zones().iter().cloned().enumerate();
        let zones = zones.map(|(index, published)| ZoneState {
            index,
            view: published.view(),
            published,
        });
        let mut zones: Vec<_> = zones.collect();
        zones.sort_by_key(|zone| Reverse(zone.view.zone.origin.len()));
        let (now, vouching) = (clock.now(), registry.vouching().clone());
        Self {
            zones,
            now,
            may_renew: vouching.is_valid(now),
            vouching,
            cookies: cookies.snapshot(cookie::now()),
        }
    }

    /// Updates the time and the zones that have changed. The UDP loop calls this
    /// before each batch of packets.
    pub fn refresh(&mut self, cookies: &Cookies, clock: &Clock) {
        self.now = clock.now();
        self.may_renew = self.vouching.is_valid(self.now);
        self.cookies = cookies.snapshot(cookie::now());
        for zone in &mut self.zones {
            if !zone.published.is_current(&zone.view) {
                zone.view = zone.published.view();
            }
        }
    }

    /// Reads the packets of a batch, and locates the peers in their questions.
    ///
    /// Peers are scattered over memory, and a cache miss takes as long as the kernel
    /// takes to send a packet: with a million peers, the misses were a fifth of the
    /// cost of a query. Therefore the memory for all packets is fetched before the
    /// first is answered, in loops so short that the processor executes the next
    /// iterations while it waits.
    pub fn read<'a>(&'a self, packets: impl Iterator<Item = &'a [u8]>, queries: &mut Queries<'a>) {
        queries.0.clear();
        for packet in packets {
            let query = Query::read(packet);
            queries.0.push(query.map(|query| self.in_zone(query)));
        }
        for query in queries.0.iter_mut().flatten() {
            query.locate();
        }
        for query in queries.0.iter().flatten() {
            if let Some(location) = &query.location {
                location.prefetch();
            }
        }
    }

    /// Finds the zone of the query, and locates its peer.
    pub fn locate<'a>(&'a self, query: Query<'a>) -> ZoneQuery<'a> {
        let mut query = self.in_zone(query);
        query.locate();
        query
    }

    #[inline(always)]
    fn in_zone<'a>(&'a self, query: Query<'a>) -> ZoneQuery<'a> {
        let mut zones = self.zones.iter();
        let in_zone = |zone: &'a ZoneState| Some((zone, zone.view.below(query.name)?));
        let zone = zones.find_map(in_zone);
        ZoneQuery {
            zone: zone.map(|(zone, _)| zone),
            name: zone.and_then(|(zone, below)| zone.view.peer_name(below)),
            location: None,
            query,
        }
    }
}
