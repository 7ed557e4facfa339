//! The messages between the writer and another replica.

use std::{collections::BTreeMap, sync::Arc};

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
        zones: ZoneFiles,
    },
    /// A part of the next report, if that names very many peers.
    Heard(HeardPeers),
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
    /// The first message, if the replica is welcome.
    Welcome {
        name: String,
        zones: ZoneFiles,
    },
    /// The only message, if it is not.
    Refused {
        reason: String,
    },
    /// A part of the next acknowledgement, if that names very many peers.
    Heard(HeardPeers),
    /// A report has arrived. The replica may renew leases for some more time.
    Acknowledged {
        number: u64,
        /// Peers that the writer or another replica has heard since the report before.
        heard: Vec<HeardPeers>,
    },
    Decided(Vec<Decided>),
}

/// The checksums of the zone files of a replica, by the origins of the zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneFiles(BTreeMap<String, u32>);

impl ZoneFiles {
    pub fn of(zones: &[Arc<PublishedZone>]) -> Self {
        let zones = zones.iter().map(|published| &published.zone);
        Self(
            zones
                .map(|zone| (zone.origin_text(), zone.digest))
                .collect(),
        )
    }

    /// How the zones of another replica differ from these, in a sentence for each.
    pub fn differences(&self, other: &Self, name: &str) -> Vec<String> {
        let origins: BTreeMap<&String, ()> = self
            .0
            .keys()
            .chain(other.0.keys())
            .map(|origin| (origin, ()))
            .collect();
        let difference = |origin: &&String| match (self.0.get(*origin), other.0.get(*origin)) {
            (Some(own), Some(its)) if own == its => None,
            (Some(_), Some(_)) => Some(format!(
                "the replica {name} has another file of the zone {origin}"
            )),
            (Some(_), None) => Some(format!(
                "the replica {name} has no file of the zone {origin}"
            )),
            (None, _) => Some(format!(
                "the replica {name} has a zone {origin}, and this one has not"
            )),
        };
        origins
            .into_keys()
            .collect::<Vec<_>>()
            .iter()
            .filter_map(difference)
            .collect()
    }
}

/// The maximum number of peers in one message, which is sent and read within
/// milliseconds. Each message is a sign of life.
const MAX_PEERS: usize = 10_000;

/// Peers of one sequence that were heard.
#[derive(Debug, Default, Serialize, Deserialize)]
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
pub fn heard_here(zones: &[Arc<PublishedZone>], since: Time) -> Vec<HeardPeers> {
    let lists = zones.iter().flat_map(|published| {
        let network = published.network();
        let peers = network.heard_here(since).map(|id| (0, id));
        lists(published, network.revision(), peers.collect())
    });
    lists.collect()
}

/// The peers that any replica has heard since a time, where it is `now`.
pub fn heard_anywhere(zones: &[Arc<PublishedZone>], since: Time, now: Time) -> Vec<HeardPeers> {
    let lists = zones.iter().flat_map(|published| {
        let network = published.network();
        let heard = network.heard_anywhere(since);
        // Full seconds, so that few lists suffice.
        let age = |at: Time| now.0.saturating_sub(at.0).div_ceil(1_000) * 1_000;
        let peers = heard.map(|(id, at)| (age(at), id));
        lists(published, network.revision(), peers.collect())
    });
    lists.collect()
}

/// The lists of these peers of a zone, each with its age.
fn lists(
    published: &PublishedZone,
    revision: u64,
    mut peers: Vec<(u64, PeerId)>,
) -> Vec<HeardPeers> {
    peers.sort_unstable();
    let zone = &published.zone;
    let alike =
        peers.chunk_by(|(age, id), (other, next)| (age, id.sequence) == (other, next.sequence));
    let lists = alike.flat_map(|alike| alike.chunks(MAX_PEERS));
    let lists = lists.map(|peers| {
        let (age, id) = peers[0];
        HeardPeers {
            zone: zone.origin_text(),
            sequence: zone.rules.sequence(id.sequence).name.clone(),
            revision,
            age,
            numbers: peers.iter().map(|(_, id)| id.number).collect(),
        }
    });
    lists.collect()
}

/// Takes so many of the lists, to be sent one by one before, that a message with the
/// others is not too long.
pub fn take_first(lists: &mut Vec<HeardPeers>) -> Vec<HeardPeers> {
    let mut peers = 0;
    let fits = |list: &&HeardPeers| {
        peers += list.numbers.len();
        peers <= MAX_PEERS
    };
    let last = lists.iter().rev().take_while(fits).count();
    lists.drain(..lists.len() - last).collect()
}

impl HeardPeers {
    /// The zone and the IDs that these are here.
    pub fn ids<'z>(
        &self,
        zones: &'z [Arc<PublishedZone>],
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_message_is_too_long(lengths in prop::collection::vec(1..=MAX_PEERS, 0..40)) {
            let list = |length: &usize| HeardPeers {
                zone: String::new(),
                sequence: String::new(),
                revision: 0,
                age: 0,
                numbers: vec![0; *length],
            };
            let mut last: Vec<HeardPeers> = lengths.iter().map(list).collect();
            let first = take_first(&mut last);
            let peers = |lists: &[HeardPeers]| lists.iter().map(|it| it.numbers.len()).sum::<usize>();
            prop_assert!(peers(&last) <= MAX_PEERS);
            prop_assert_eq!(first.len() + last.len(), lengths.len());
            prop_assert_eq!(peers(&first) + peers(&last), lengths.iter().sum::<usize>());
            let next = first.last().map_or(0, |list| list.numbers.len());
            prop_assert!(first.is_empty() || peers(&last) + next > MAX_PEERS, "no more than needed");
        }
    }
}
