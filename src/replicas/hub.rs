//! The writer's side of the channel: takes reports and requests of the other replicas.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    channel::{ChannelKeys, Receiver, Sender},
    identities::Identities,
    message::{self, HeardPeers, ToReplica, ToWriter, ZoneFiles},
};
use crate::{
    clock::Clock,
    network::Time,
    registry::{Coverage, Decided, Forwarded, NamedDenial, Outcome, Registry, Reporter},
    store::etcd::Leadership,
};

/// How long a handshake and the first message may take.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// How long a replica may be silent. It reports far more often.
const SILENCE: Duration = Duration::from_secs(5);

/// The maximum number of connections at a time. Strangers have one for no longer than a
/// handshake may take.
const MAX_CONNECTIONS: usize = 256;

/// The number of the next connection.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// How many answers are sent together: those of as many requests as share a commit.
const MAX_TOGETHER: usize = 4_096;

/// A heartbeat may be noted in a lease this much later than the time that it is noted
/// with.
pub const SLACK: Duration = Duration::from_secs(1);

/// A term of this replica as the writer.
#[derive(Clone)]
pub struct Term {
    pub coverage: Arc<Coverage>,
    pub leadership: Leadership,
}

/// What all connections use.
#[derive(Clone)]
pub struct Hub {
    pub registry: Registry,
    pub keys: ChannelKeys,
    pub clock: Clock,
    /// The current term; `None` while another replica is the writer.
    pub term: watch::Receiver<Option<Term>>,
    /// What this replica is called.
    pub name: String,
    pub identities: Identities,
}

impl Hub {
    /// Accepts connections until the task is dropped.
    pub async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    while connections.try_join_next().is_some() {}
                    if connections.len() < MAX_CONNECTIONS {
                        connections.spawn(self.clone().serve(stream, from));
                    }
                }
                Err(error) => {
                    debug!("cannot accept a connection of a replica: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(mut self, stream: TcpStream, from: SocketAddr) {
        let Some(term) = self.term.borrow_and_update().clone() else {
            return;
        };
        let mut changes = self.term.clone();
        let served = async {
            let (receiver, sender) = timeout(HANDSHAKE, self.keys.accept(stream)).await??;
            Connection::serve(self, term, from.ip(), receiver, sender).await
        };
        tokio::select! {
            served = served => if let Err(error) = served {
                debug!("the connection of the replica at {from} has ended: {error}");
            },
            // The next term has other connections.
            _ = changes.changed() => {}
        }
    }
}

/// The connection of one replica.
struct Connection {
    hub: Hub,
    term: Term,
    identity: String,
    name: String,
    run: u64,
    number: u64,
    answers: mpsc::UnboundedSender<ToReplica>,
}

impl Connection {
    async fn serve(
        hub: Hub,
        term: Term,
        from: IpAddr,
        mut receiver: Receiver,
        mut sender: Sender,
    ) -> io::Result<()> {
        let hello = timeout(HANDSHAKE, receiver.receive()).await??;
        let ToWriter::Hello {
            identity,
            name,
            run,
            zones,
        } = hello
        else {
            return Err(io::Error::other("it does not begin with its name"));
        };
        let name = format!("{name} at {from}");
        let _connected = match hub.identities.connect(&identity, run, from) {
            Ok(connected) => connected,
            Err(other) => {
                let reason = format!(
                    "its data directory has the identity of that of the replica at {other}, which \
                     is running: if it is a copy, start with an empty one"
                );
                warn!("the replica {name} is refused: {reason}");
                return timeout(HANDSHAKE, sender.send(&ToReplica::Refused { reason })).await?;
            }
        };
        let own = ZoneFiles::of(hub.registry.zones());
        warn_of_differences(&own, &zones, &format!("the replica {name}"));
        let welcome = ToReplica::Welcome {
            name: hub.name.clone(),
            zones: own,
        };
        timeout(HANDSHAKE, sender.send(&welcome)).await??;
        let (answers, to_send) = mpsc::unbounded_channel();
        let connection = Self {
            hub,
            term,
            identity,
            name,
            run,
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            answers,
        };
        tokio::try_join!(connection.receive(receiver), send(to_send, sender))?;
        Ok(())
    }

    async fn receive(self, mut receiver: Receiver) -> io::Result<()> {
        loop {
            match timeout(SILENCE, receiver.receive()).await?? {
                ToWriter::Heard(list) => drop(self.renew(&[list])?),
                ToWriter::Report {
                    number,
                    has_stood_still,
                    heard,
                    commit,
                } => self.report(number, has_stood_still, &heard, commit)?,
                ToWriter::Has { commit } => {
                    self.term.coverage.confirm(&self.identity, self.run, commit);
                }
                ToWriter::Requests(requests) => {
                    for request in requests {
                        self.request(request);
                    }
                }
                ToWriter::Goodbye => {
                    self.term.coverage.leave(&self.identity, self.run);
                    return Ok(());
                }
                ToWriter::Hello { .. } => {
                    return Err(io::Error::other("it says its name twice"));
                }
            }
        }
    }

    fn report(
        &self,
        number: u64,
        has_stood_still: bool,
        heard: &[HeardPeers],
        commit: u64,
    ) -> io::Result<()> {
        let coverage = &self.term.coverage;
        let now = self.renew(heard)?;
        if has_stood_still {
            coverage.stood_still(now);
        }
        let reporter = Reporter {
            identity: &self.identity,
            name: &self.name,
            run: self.run,
            connection: self.number,
            commit,
        };
        let before = coverage.report(&reporter, now).map_err(io::Error::other)?;
        let since = before.map_or_else(|| self.oldest(now), |before| before.minus(SLACK));
        let mut heard = message::heard_anywhere(self.hub.registry.zones(), since, now);
        for list in message::take_first(&mut heard) {
            self.send(ToReplica::Heard(list));
        }
        self.send(ToReplica::Acknowledged { number, heard });
        Ok(())
    }

    /// Renews the leases that the replica has renewed. Returns the present time.
    fn renew(&self, heard: &[HeardPeers]) -> io::Result<Time> {
        let now = self.hub.clock.now();
        // Otherwise another writer may have ended the leases.
        if !self.term.leadership.is_held(now) {
            return Err(io::Error::other("the lease of the writer may have ended"));
        }
        for list in heard {
            if let Some((published, ids)) = list.ids(self.hub.registry.zones()) {
                let network = published.network();
                for id in ids {
                    network.renew_reported(id, now);
                }
            }
        }
        Ok(now)
    }

    /// Leases that were renewed before this time have ended.
    fn oldest(&self, now: Time) -> Time {
        let zones = self.hub.registry.zones().iter();
        let longest = zones.map(|published| published.zone.rules.lease).max();
        now.minus(longest.unwrap_or_default() + SLACK)
    }

    /// Lets the registry decide a request.
    fn request(&self, forwarded: Forwarded) {
        let Forwarded {
            request,
            zone,
            action,
        } = forwarded;
        let zones = self.hub.registry.zones();
        let place = zones.iter().position(|it| it.zone.origin_text() == zone);
        let known = place.and_then(|place| {
            let published = zones[place].clone();
            Some((place, action.into_action(&published.zone)?, published))
        });
        let Some((place, action, published)) = known else {
            let outcome = Outcome::Denied(NamedDenial::OtherZones);
            self.send(decided(request, 0, outcome));
            return;
        };
        let answers = self.answers.clone();
        let zone = published.clone();
        let submitted = self.hub.registry.submit(place, action, move |decision| {
            let outcome = Outcome::of(&zone.zone, decision);
            // The connection may have ended.
            let _ = answers.send(decided(request, zone.commit(), outcome));
        });
        if let Err(denial) = submitted {
            let outcome = Outcome::of(&published.zone, Err(denial));
            self.send(decided(request, 0, outcome));
        }
    }

    fn send(&self, message: ToReplica) {
        // The other half ends with the connection.
        let _ = self.answers.send(message);
    }
}

/// Warns of zones that two replicas do not have alike.
pub fn warn_of_differences(own: &ZoneFiles, other: &ZoneFiles, name: &str) {
    for difference in own.differences(other, name) {
        warn!("{difference}: give all replicas the same zone files");
    }
}

fn decided(request: u64, commit: u64, outcome: Outcome) -> ToReplica {
    ToReplica::Decided(vec![Decided {
        request,
        commit,
        outcome,
    }])
}

/// Sends the answers. Decisions that wait together are sent together, and before all else
/// that waits.
async fn send(
    mut answers: mpsc::UnboundedReceiver<ToReplica>,
    mut sender: Sender,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    while answers.recv_many(&mut waiting, MAX_TOGETHER).await > 0 {
        let mut decisions = Vec::new();
        let mut others = Vec::new();
        for message in waiting.drain(..) {
            match message {
                ToReplica::Decided(decided) => decisions.extend(decided),
                other => others.push(other),
            }
        }
        if !decisions.is_empty() {
            sender.send(&ToReplica::Decided(decisions)).await?;
        }
        for message in others {
            sender.send(&message).await?;
        }
    }
    Ok(())
}
