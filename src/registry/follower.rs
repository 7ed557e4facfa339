//! The registry of a replica that is not the writer: it publishes what the writer has
//! stored, and passes requests on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, warn};

use super::{
    Decision, Denial, Grant, PublishedZone,
    apply::apply,
    replication::{Decided, Forwarded, ForwardedAction, NamedId, Outcome},
    request::{Action, Command},
    shared::EndedLeases,
};
use crate::{
    network::{Network, PeerId, Time},
    store::replication::{BLOCK, BlockPlace, Stored, ZoneChange},
    zone::{Zone, ZoneView},
};

/// How long a request may wait for a writer. Whoever asked then learns that there is
/// none, while they still wait for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a replica has of the store, and the requests that wait for the writer.
pub(super) struct Follower {
    zones: Vec<Arc<PublishedZone>>,
    /// By zone: what was received of a commit that is open.
    pending: Vec<ZoneChange>,
    pub ended: EndedLeases,
    /// The last commit that is published.
    pub commit: u64,
    /// What did not fit the zone files and was logged: each commit to its block brings it
    /// again.
    misfits: BTreeSet<String>,
    waiting: BTreeMap<u64, Waiting>,
    /// Decisions that wait for the commit as of which they hold.
    decided: Vec<Decided>,
    next_request: u64,
    writer: Option<UnboundedSender<Vec<Forwarded>>>,
}

/// A request that waits for the writer.
struct Waiting {
    command: Command,
    since: Time,
    /// When it was sent to the writer in use.
    sent: Option<Time>,
}

impl Follower {
    pub fn new(zones: Vec<Arc<PublishedZone>>, ended: EndedLeases, commit: u64) -> Self {
        Self {
            pending: zones.iter().map(|_| ZoneChange::default()).collect(),
            ended,
            commit,
            misfits: BTreeSet::new(),
            zones,
            waiting: BTreeMap::new(),
            decided: Vec::new(),
            next_request: 0,
            writer: None,
        }
    }

    /// Publishes what a commit has stored.
    pub fn follow(&mut self, stored: Stored, now: Time) {
        if stored.commit <= self.commit {
            return;
        }
        for (place, change) in self.by_zone(stored.zones) {
            self.pending[place].extend(change);
        }
        if !stored.is_open {
            self.publish(stored.commit, now);
        }
    }

    /// Publishes all that is stored. What was published before and is no longer stored is
    /// removed.
    pub fn replace(&mut self, stored: Stored, now: Time) {
        if stored.commit < self.commit {
            return;
        }
        let is_current = stored.commit == self.commit;
        let mut listed: BTreeMap<usize, ZoneChange> = self.by_zone(stored.zones).collect();
        for place in 0..self.zones.len() {
            let mut change = listed.remove(&place).unwrap_or_default();
            self.add_missing(place, &mut change);
            self.pending[place] = change;
        }
        let before: Vec<_> = self.zones.iter().map(|zone| zone.contents()).collect();
        self.publish(stored.commit, now);
        let pairs = self.zones.iter().zip(before);
        for (published, before) in pairs.filter(|_| is_current) {
            let contents = published.contents();
            if (contents.registrations, contents.pins) != (before.registrations, before.pins) {
                error!(
                    "zone {}: this replica differed from what is stored, and has taken it over: \
                     please report this",
                    published.zone
                );
            }
        }
    }

    /// Adds that everything is gone which was published and is not listed.
    fn add_missing(&self, place: usize, change: &mut ZoneChange) {
        let zone = &self.zones[place].zone;
        let network = self.zones[place].network();
        let of = |sequence, index| BlockPlace {
            sequence: zone.rules.sequence(sequence).name.clone(),
            index,
        };
        let blocks: BTreeSet<_> = network
            .peers()
            .map(|peer| (peer.id.sequence, peer.id.number / BLOCK))
            .collect();
        for (sequence, index) in blocks {
            change.blocks.entry(of(sequence, index)).or_default();
        }
        for (sequence, index) in self.ended.places(place) {
            change.ended.entry(of(sequence, index)).or_default();
        }
        for (host, _) in network.pins() {
            change.pins.entry(host.to_string()).or_default();
        }
    }

    fn by_zone(
        &self,
        zones: BTreeMap<String, ZoneChange>,
    ) -> impl Iterator<Item = (usize, ZoneChange)> + use<> {
        let known = self.zones.iter().map(|zone| zone.zone.origin_text());
        let known: Vec<String> = known.collect();
        zones.into_iter().filter_map(move |(origin, change)| {
            let place = known.iter().position(|known| *known == origin)?;
            Some((place, change))
        })
    }

    /// Publishes what was received, up to the end of this commit.
    fn publish(&mut self, commit: u64, now: Time) {
        self.commit = commit;
        for (place, published) in self.zones.iter().enumerate() {
            let change = std::mem::take(&mut self.pending[place]);
            if change == ZoneChange::default() {
                published.note_commit(commit);
                continue;
            }
            let mut network = Network::clone(&published.network());
            let serial = change.serial.unwrap_or(published.reserved());
            let changed = change.changed.unwrap_or(published.changed());
            let problems = apply(
                &published.zone,
                place,
                &mut network,
                change,
                &mut self.ended,
                serial,
                now,
            );
            for problem in problems {
                let text = format!("zone {}: {problem}", published.zone);
                if self.misfits.insert(text.clone()) {
                    warn!("{text}");
                }
            }
            published.publish(network, commit, changed, serial);
        }
    }

    /// Takes requests on behalf of the writer.
    pub fn forward(&mut self, commands: Vec<Command>, now: Time) {
        let first = self.next_request;
        for command in commands {
            let waiting = Waiting {
                command,
                since: now,
                sent: None,
            };
            self.waiting.insert(self.next_request, waiting);
            self.next_request += 1;
        }
        self.send(first, now);
    }

    /// Sends the requests from this one on to the writer, if one is connected.
    fn send(&mut self, first: u64, now: Time) {
        let Some(writer) = &self.writer else {
            return;
        };
        let mut forwarded = Vec::new();
        for (request, waiting) in self.waiting.range_mut(first..) {
            waiting.sent = Some(now);
            let Command { zone, action, .. } = &waiting.command;
            let zone = &self.zones[*zone].zone;
            forwarded.push(Forwarded {
                request: *request,
                zone: zone.origin_text(),
                action: ForwardedAction::of(zone, action),
            });
        }
        if !forwarded.is_empty() && writer.send(forwarded).is_err() {
            self.writer = None;
        }
    }

    /// Uses the connection to a writer. What the writer before was asked is repeated,
    /// except updates and leaves, which it may have applied.
    pub fn connect(&mut self, writer: UnboundedSender<Vec<Forwarded>>, now: Time) {
        self.writer = Some(writer);
        for request in self.sent_once() {
            self.reply(request, Err(Denial::NoWriter));
        }
        self.decided.clear();
        self.send(0, now);
    }

    /// The requests that a writer was sent, and that must not be decided twice.
    fn sent_once(&self) -> Vec<u64> {
        let is_sent = |it: &Waiting| it.sent.is_some() && !it.command.action.may_be_repeated();
        let requests = self.waiting.iter().filter(|(_, it)| is_sent(it));
        requests.map(|(request, _)| *request).collect()
    }

    /// Answers the requests about which the writer has decided, as soon as what it has
    /// decided is published here.
    pub fn decide(&mut self, decided: Vec<Decided>) {
        self.decided.extend(decided);
        let commit = self.commit;
        let is_due = |it: &mut Decided| it.commit <= commit;
        let due: Vec<Decided> = self.decided.extract_if(.., is_due).collect();
        for Decided {
            request, outcome, ..
        } in due
        {
            if let Some(decision) = self.decision(request, outcome) {
                self.reply(request, decision);
            }
        }
    }

    /// The decision in terms of this replica.
    fn decision(&self, request: u64, outcome: Outcome) -> Option<Decision> {
        let Waiting { command, sent, .. } = self.waiting.get(&request)?;
        let published = &self.zones[command.zone];
        let zone = &published.zone;
        let (host, is_new, candidates) = match outcome {
            Outcome::Granted {
                host,
                is_new,
                candidates,
            } => (host, is_new, candidates),
            Outcome::Updated => return Some(Ok(Grant::Updated)),
            Outcome::Denied(denial) => return Some(Err(denial.into_denial(zone))),
        };
        let view = published.view();
        let peer = host.parse().ok().and_then(|host| view.network.host(&host));
        let Some(peer) = peer.cloned() else {
            // It was released since.
            return Some(Err(Denial::NoWriter));
        };
        if let (Action::Register { client, .. }, Some(sent)) = (&command.action, sent)
            && peer.holder == *client
        {
            view.network.hear(peer.id, *sent);
        }
        let view = with_candidates(zone, view, &candidates);
        Some(Ok(Grant::Peer { peer, view, is_new }))
    }

    /// Whether a writer is connected.
    pub fn is_connected(&self) -> bool {
        self.writer
            .as_ref()
            .is_some_and(|writer| !writer.is_closed())
    }

    /// Denies the requests that have waited for too long.
    pub fn expire(&mut self, now: Time) {
        let waiting = &self.waiting;
        self.decided
            .retain(|decided| waiting.contains_key(&decided.request));
        let is_late = |it: &Waiting| now >= it.since + PATIENCE;
        let requests = self.waiting.iter();
        let late = requests
            .take_while(|(_, it)| is_late(it))
            .map(|(request, _)| *request);
        let late: Vec<u64> = late.collect();
        let is_connected = self.is_connected();
        for request in late {
            let denial = if is_connected {
                Denial::Late
            } else {
                Denial::NoWriter
            };
            self.reply(request, Err(denial));
        }
    }

    fn reply(&mut self, request: u64, decision: Decision) {
        if let Some(Waiting { command, .. }) = self.waiting.remove(&request) {
            (command.reply)(decision);
        }
    }

    /// The requests that wait, which this replica decides now.
    pub fn take_waiting(&mut self) -> Vec<Command> {
        // The writer before may have applied an update that it was sent.
        for request in self.sent_once() {
            self.reply(request, Err(Denial::NoWriter));
        }
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().map(|it| it.command).collect()
    }
}

/// The view with the candidates for root nodes that the writer had.
fn with_candidates(zone: &Zone, view: Arc<ZoneView>, candidates: &[NamedId]) -> Arc<ZoneView> {
    let ids = candidates.iter().filter_map(|id| id.to_id(zone));
    let ids: Vec<PeerId> = ids.collect();
    if view.network.root_candidates() == ids {
        return view;
    }
    let network = view.network.with_root_candidates(&ids);
    Arc::new(view.next(Arc::new(network)))
}
