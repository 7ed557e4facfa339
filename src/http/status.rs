//! The status page: each network with its peers, for people.

use std::{sync::Arc, time::Duration};

use minijinja::{
    Environment,
    value::{Serde, Value},
};
use serde::Serialize;

use super::drawing;
use crate::{
    network::{Network, Peer, Time},
    server::readiness::Readiness,
    text::counted,
    zone::{Zone, ZoneView},
};

/// The maximum number of peers of a network in its table. `paramd peers` lists all.
const MAX_ROWS: usize = 1_000;

const NAME: &str = "status.html";

/// The compiled template.
pub struct Template(Result<Environment<'static>, String>);

/// The page.
#[derive(Serialize)]
struct Page {
    networks: Vec<Card>,
    version: &'static str,
    /// Why the service cannot register peers.
    problem: Option<String>,
}

/// A network as the page shows it.
#[derive(Serialize)]
struct Card {
    origin: String,
    /// The sentence that matters.
    summary: String,
    /// `good`, `warn` or `bad`: how the sentence is marked.
    mark: &'static str,
    drawing: drawing::Drawing,
    rows: Vec<Row>,
    /// The number of peers that have no row.
    omitted: usize,
}

/// A peer.
#[derive(Serialize)]
struct Row {
    id: String,
    host: String,
    role: String,
    address: String,
    is_live: bool,
    is_pinned: bool,
    /// The time that is left of the lease, and since the peer was last heard.
    left: String,
    heard: String,
    roots: String,
    epoch: u64,
}

impl Template {
    pub fn new() -> Self {
        let mut environment = Environment::new();
        // Names from the network are escaped: the name of the template ends in .html.
        let added = environment.add_template(NAME, include_str!("status.html"));
        let added = added.map_err(|error| error.to_string());
        Self(added.map(|()| environment))
    }

    pub fn render(&self, readiness: &Readiness) -> Result<String, String> {
        let now = readiness.clock.now();
        let published = readiness.registry.zones().iter();
        let cards: Vec<Card> = published.map(|it| card(&it.view(), now)).collect();
        let page = Value::from(Serde(Page {
            networks: cards,
            version: env!("CARGO_PKG_VERSION"),
            problem: readiness.check_ready().err(),
        }));
        let environment = self.0.as_ref().map_err(String::clone)?;
        environment
            .get_template(NAME)
            .and_then(|template| template.render(page))
            .map_err(|error| error.to_string())
    }
}

fn card(view: &Arc<ZoneView>, now: Time) -> Card {
    let (zone, network) = (&view.zone, &view.network);
    let (summary, mark) = summary(zone, network);
    let rows: Vec<Row> = network
        .peers()
        .take(MAX_ROWS)
        .map(|peer| row(zone, network, peer, now))
        .collect();
    Card {
        origin: zone.to_string(),
        drawing: drawing::draw(zone, network),
        omitted: network.len() - rows.len(),
        summary,
        mark,
        rows,
    }
}

/// "4 of 4 live, tolerates 1 fault", or what there is to say of a network without n.
fn summary(zone: &Zone, network: &Network) -> (String, &'static str) {
    let Some((n, f)) = zone.n.zip(zone.f()) else {
        let (all, live) = (network.len(), network.live_len());
        let mark = if live == all { "good" } else { "warn" };
        return (format!("{}, {live} live", counted(all, "peer")), mark);
    };
    let live = network.live_len_of(zone.rules.root_sequence);
    let missing = (n as usize).saturating_sub(live);
    let faults = f as usize;
    let (meaning, mark) = match faults.checked_sub(missing) {
        None => {
            let needed = n as usize - faults;
            (format!("no quorum: {needed} are needed"), "bad")
        }
        Some(left) if missing == 0 => (format!("tolerates {}", counted(left, "fault")), "good"),
        Some(0) => ("tolerates no further fault".to_owned(), "warn"),
        Some(left) => (format!("tolerates {}", counted(left, "more fault")), "warn"),
    };
    (format!("{live} of {n} live, {meaning}"), mark)
}

fn row(zone: &Zone, network: &Network, peer: &Peer, now: Time) -> Row {
    let heard = peer.lease.last_heard();
    let is_live = network.is_live(peer.id);
    // A replica does not know when a peer was heard by another one.
    let known = |text: String| {
        if heard == Time::default() {
            "–".to_owned()
        } else {
            text
        }
    };
    let left = network.expiry(peer).since(now);
    let roots: Vec<String> = network
        .roots(peer)
        .map(|root| zone.rules.id_text(root.id))
        .collect();
    Row {
        id: zone.rules.id_text(peer.id),
        host: peer.host.to_string(),
        role: zone.rules.role(peer.role).name.clone(),
        address: peer.holder.address.to_string(),
        is_live,
        is_pinned: network.pinned(&peer.host).is_some(),
        left: if is_live {
            known(seconds(left))
        } else {
            "–".to_owned()
        },
        heard: known(format!("{} ago", seconds(now.since(heard)))),
        roots: roots.join(", "),
        epoch: peer.epoch,
    }
}

/// A time span in whole seconds, as people write it.
fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
