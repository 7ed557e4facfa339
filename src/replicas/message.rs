//! The messages between the writer and another replica.

use serde::{Deserialize, Serialize};

use crate::{
    network::{PeerId, Sequence, Time},
    registry::{Decided, Forwarded, PublishedZone},
};

/// From a replica to the writer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWriter {
    /// The first message.
    Hello {
        /// The identity of the data directory.
        identity: String,
        name: String,
        /// A random number of this run of the process.
        run: u64,
    },
    /// The leases that the replica has renewed since the last report that was
    /// acknowledged.
    Report {
        number: u64,
        /// Whether the replica has stood still since then, and may not have heard a peer.
        has_stood_still: bool,
        heard: Vec<HeardPeers>,
        /// The last commit that the replica has.
        commit: u64,
    },
    /// The last commit that the replica has, in between reports.
    Has { commit: u64 },
    /// Requests that the writer is to decide.
    Requests(Vec<Forwarded>),
    /// The replica ends, and will renew no more leases.
    Goodbye,
}

/// From the writer to a replica.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToReplica {
    /// A report has arrived. The replica may renew leases for some more time.
    Acknowledged {
        number: u64,
        /// Peers that the writer or another replica has heard since the report before.
        heard: Vec<HeardPeers>,
    },
    Decided(Vec<Decided>),
}

/// Peers of one sequence that were heard.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeardPeers {
    /// The origin of the zone.
    pub zone: String,
    pub sequence: String,
    /// The revision of the network in which they are the holders of their IDs.
    pub revision: u64,
    /// At most so many milliseconds ago.
    pub age: u64,
    pub numbers: Vec<u32>,
}

/// The peers that this service itself has heard since a time.
pub fn heard_here(zones: &[std::sync::Arc<PublishedZone>], since: Time) -> Vec<HeardPeers> {
    let mut heard = Vec::new();
    for published in zones {
        let network = published.network();
        for id in network.heard_here(since) {
            add(&mut heard, published, network.revision(), id, 0);
        }
    }
    heard
}

/// The peers that any replica has heard since a time, where it is `now`.
pub fn heard_anywhere(
    zones: &[std::sync::Arc<PublishedZone>],
    since: Time,
    now: Time,
) -> Vec<HeardPeers> {
    let mut heard = Vec::new();
    for published in zones {
        let network = published.network();
        let mut peers: Vec<(u64, PeerId)> = network
            .heard_anywhere(since)
            .map(|(id, at)| (rounded_up(now.0.saturating_sub(at.0)), id))
            .collect();
        peers.sort_unstable_by_key(|(age, id)| (*age, id.sequence, id.number));
        for (age, id) in peers {
            add(&mut heard, published, network.revision(), id, age);
        }
    }
    heard
}

/// Full seconds, so that few messages suffice.
fn rounded_up(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1_000) * 1_000
}

/// Adds a peer to the last list, or to a new one.
fn add(
    heard: &mut Vec<HeardPeers>,
    published: &PublishedZone,
    revision: u64,
    id: PeerId,
    age: u64,
) {
    let zone = &published.zone;
    let sequence = &zone.rules.sequence(id.sequence).name;
    let origin = zone.origin_text();
    match heard.last_mut() {
        Some(last) if last.sequence == *sequence && last.age == age && last.zone == origin => {
            last.numbers.push(id.number);
        }
        _ => heard.push(HeardPeers {
            zone: origin,
            sequence: sequence.clone(),
            revision,
            age,
            numbers: vec![id.number],
        }),
    }
}

impl HeardPeers {
    /// The zone and the IDs that these are here.
    pub fn ids<'z>(
        &self,
        zones: &'z [std::sync::Arc<PublishedZone>],
    ) -> Option<(&'z PublishedZone, impl Iterator<Item = PeerId>)> {
        let mut zones = zones.iter();
        let published = zones.find(|it| it.zone.origin_text() == self.zone)?;
        let mut sequences = published.zone.rules.sequences.iter();
        let place = sequences.position(|it| it.name == self.sequence)?;
        let sequence = Sequence(place as u16);
        let numbers = self.numbers.iter();
        let ids = numbers.map(move |number| PeerId {
            sequence,
            number: *number,
        });
        Some((published, ids))
    }
}
