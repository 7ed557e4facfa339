//! A replica's side of the channel: reports the leases that it has renewed, and passes
//! requests on to the writer.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, timeout},
};
use tracing::{debug, info, warn};

use super::{
    channel::{ChannelKeys, Receiver, Sender},
    hub::{SLACK, warn_of_differences},
    message::{self, HeardPeers, ToReplica, ToWriter, ZoneFiles},
};
use crate::{
    clock::Clock,
    network::Time,
    registry::{DRIFT, Event, Registry},
};

/// How often a replica reports.
const REPORT: Duration = Duration::from_millis(500);

/// How often a replica tells the writer which commits it has received, if there are new
/// ones: who was released, or has left, waits for that.
const CONFIRM: Duration = Duration::from_millis(50);

/// How long the writer may take to accept a connection, or to acknowledge a report.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How soon a connection that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How soon a replica that was refused tries again.
const RETRY_REFUSED: Duration = Duration::from_secs(10);

/// How long the last report may take.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// The link to the writer, whoever that is.
pub struct Link {
    pub registry: Registry,
    pub keys: ChannelKeys,
    pub clock: Clock,
    /// The first message of each connection: who this replica is.
    pub hello: ToWriter,
    /// How long leases may be renewed after a report.
    pub hold: Duration,
    /// The writer's address; `None` while there is no other writer.
    pub writer: watch::Receiver<Option<SocketAddr>>,
    /// Becomes true when the replica ends.
    pub stop: watch::Receiver<bool>,
}

/// Peers that others have heard.
struct HeardList {
    /// When the report was begun whose acknowledgement has the list.
    begun: Time,
    peers: HeardPeers,
}

/// What was reported, over all connections.
struct Reported {
    number: u64,
    /// When the last report that was acknowledged was begun.
    until: Time,
    /// Since when the service has heard its peers, as the last report has it.
    heard_since: Time,
}

/// A report that waits for its acknowledgement.
struct Outstanding {
    number: u64,
    begun: Time,
    heard_since: Time,
    /// When it was sent, or a part of its acknowledgement has arrived.
    sign_of_life: Instant,
}

impl Link {
    /// Keeps a connection to the writer until the replica ends.
    pub async fn run(mut self) {
        let mut reported = Reported {
            number: 0,
            until: Time::default(),
            heard_since: self.clock.moment().heard_since,
        };
        loop {
            let writer = *self.writer.borrow_and_update();
            let mut retry = RETRY;
            if let Some(address) = writer {
                match self.connect(address).await {
                    Ok(halves) => {
                        debug!("connected to the writer at {address}");
                        match self.serve(halves, &mut reported).await {
                            Ok(()) => return,
                            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                                warn!("the writer at {address} refuses this replica: {error}");
                                retry = RETRY_REFUSED;
                            }
                            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                                info!("the writer at {address} has ended the connection");
                            }
                            Err(error) => {
                                info!(
                                    "the connection to the writer at {address} has ended: {error}"
                                );
                            }
                        }
                    }
                    Err(error) => debug!("cannot connect to the writer at {address}: {error}"),
                }
            }
            tokio::select! {
                () = stopped(&mut self.stop) => return,
                _ = self.writer.changed() => {}
                () = tokio::time::sleep(retry) => {}
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<(Receiver, Sender)> {
        let connected = async {
            let stream = TcpStream::connect(address).await?;
            let (receiver, mut sender) = self.keys.connect(stream).await?;
            sender.send(&self.hello).await?;
            Ok((receiver, sender))
        };
        timeout(PATIENCE, connected).await?
    }

    /// Serves a connection. Returns when the replica ends.
    async fn serve(
        &mut self,
        (mut receiver, mut sender): (Receiver, Sender),
        reported: &mut Reported,
    ) -> io::Result<()> {
        let (requests, mut to_forward) = mpsc::unbounded_channel();
        self.registry.notify(Event::Connected(requests)).await;
        // A task, since a message that is being read must not be given up.
        let (received, mut messages) = mpsc::channel(16);
        let reading = tokio::spawn(async move {
            loop {
                let message = receiver.receive::<ToReplica>().await;
                let has_ended = message.is_err();
                if received.send(message).await.is_err() || has_ended {
                    return;
                }
            }
        });
        let _reading = AbortOnDrop(reading);
        let mut confirmed = 0;
        let mut confirming = tokio::time::interval(CONFIRM);
        confirming.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outstanding = None;
        let mut lists = Vec::new();
        let mut due = tokio::time::interval(REPORT);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.recv() => {
                    let message = message.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
                    if let ToReplica::Refused { reason } = message {
                        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
                    }
                    self.receive(message, &mut outstanding, reported, &mut lists).await;
                    self.hear(&mut lists);
                }
                Some(forwarded) = to_forward.recv() => {
                    timeout(PATIENCE, sender.send(&ToWriter::Requests(forwarded))).await??;
                }
                _ = due.tick() => {
                    self.hear(&mut lists);
                    match &outstanding {
                        None => outstanding = Some(self.report(&mut sender, reported).await?),
                        Some(report) if report.sign_of_life.elapsed() > PATIENCE => {
                            return Err(io::Error::other("the writer is silent"));
                        }
                        Some(_) => {}
                    }
                }
                _ = confirming.tick() => {
                    let commit = self.commit();
                    if commit != confirmed {
                        confirmed = commit;
                        timeout(PATIENCE, sender.send(&ToWriter::Has { commit })).await??;
                    }
                }
                _ = self.writer.changed() => {
                    return Err(io::Error::other("another replica is the writer"));
                }
                () = stopped(&mut self.stop) => {
                    let last = async {
                        self.report(&mut sender, reported).await?;
                        sender.send(&ToWriter::Goodbye).await
                    };
                    // The writer does not wait for this replica for longer than `hold`.
                    let _ = timeout(LAST_REPORT, last).await;
                    return Ok(());
                }
            }
        }
    }

    /// The last commit that is published here.
    fn commit(&self) -> u64 {
        let zones = self.registry.zones().iter();
        zones.map(|zone| zone.commit()).min().unwrap_or(0)
    }

    /// Reports what was renewed since the last report that was acknowledged.
    async fn report(
        &self,
        sender: &mut Sender,
        reported: &mut Reported,
    ) -> io::Result<Outstanding> {
        // Before the leases are read, since the writer counts from a later time.
        let begun = self.clock.now();
        let heard_since = self.clock.moment().heard_since;
        reported.number += 1;
        let number = reported.number;
        let zones = self.registry.zones();
        let mut heard = message::heard_here(zones, reported.until.minus(SLACK));
        for list in message::take_first(&mut heard) {
            timeout(PATIENCE, sender.send(&ToWriter::Heard(list))).await??;
        }
        let report = ToWriter::Report {
            number,
            has_stood_still: heard_since > reported.heard_since,
            heard,
            commit: self.commit(),
        };
        timeout(PATIENCE, sender.send(&report)).await??;
        Ok(Outstanding {
            number,
            begun,
            heard_since,
            sign_of_life: Instant::now(),
        })
    }

    async fn receive(
        &self,
        message: ToReplica,
        outstanding: &mut Option<Outstanding>,
        reported: &mut Reported,
        lists: &mut Vec<HeardList>,
    ) {
        match message {
            ToReplica::Welcome { name, zones } => {
                let own = ZoneFiles::of(self.registry.zones());
                warn_of_differences(&own, &zones, &format!("the writer {name}"));
            }
            // The connection ends.
            ToReplica::Refused { .. } => {}
            ToReplica::Heard(peers) => {
                if let Some(report) = outstanding {
                    report.sign_of_life = Instant::now();
                    let begun = report.begun;
                    lists.push(HeardList { begun, peers });
                }
            }
            ToReplica::Acknowledged { number, heard } => {
                let is_this = |report: &mut Outstanding| report.number == number;
                if let Some(report) = outstanding.take_if(is_this) {
                    self.registry.vouching().extend(report.begun + self.hold);
                    reported.until = report.begun;
                    reported.heard_since = report.heard_since;
                    let begun = report.begun;
                    lists.extend(heard.into_iter().map(|peers| HeardList { begun, peers }));
                }
            }
            ToReplica::Decided(decided) => {
                self.registry.notify(Event::Decided(decided)).await;
            }
        }
    }

    /// Notes whom the others have heard. A list waits until this replica has the network of
    /// which it speaks: an earlier holder of an ID was not heard. The writer measured the
    /// age after the report was begun, so the time is never later than the one that it
    /// knows.
    fn hear(&self, lists: &mut Vec<HeardList>) {
        lists.retain(|HeardList { begun, peers }| {
            let Some((published, ids)) = peers.ids(self.registry.zones()) else {
                return false;
            };
            let network = published.network();
            if network.revision() < peers.revision {
                // It is of no use when the leases that it renews have ended.
                return self.clock.now() < *begun + published.zone.rules.lease;
            }
            let age = Duration::from_millis(peers.age);
            let at = begun.minus(age + age / DRIFT);
            for id in ids {
                network.hear(id, at);
            }
            false
        });
    }
}

/// Waits until the replica ends.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Its other half is gone when the replica has ended.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends a task when whoever waits for it is gone.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::store::replication::Stored;

    /// A link, and what keeps it running.
    fn link(keys: &ChannelKeys) -> (Link, impl Sized) {
        let (registry, _ended) =
            Registry::join(Vec::new(), Stored::default(), Clock::start()).unwrap();
        let hello = ToWriter::Hello {
            identity: "test".to_owned(),
            name: "test".to_owned(),
            run: 1,
            zones: ZoneFiles::of(&[]),
        };
        let (address, writer) = watch::channel(None);
        let (stopping, stop) = watch::channel(false);
        let link = Link {
            registry,
            keys: keys.clone(),
            clock: Clock::start(),
            hello,
            hold: Duration::from_secs(15),
            writer,
            stop,
        };
        (link, (address, stopping))
    }

    /// A writer that needs longer for an acknowledgement than it may be silent.
    #[tokio::test]
    async fn a_writer_that_sends_a_long_list_is_not_silent() {
        let keys = ChannelKeys::from_pkcs8(&ChannelKeys::generate().unwrap()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = keys.clone();
        let writer = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut receiver, mut sender) = accepting.accept(stream).await.unwrap();
            receiver.receive::<ToWriter>().await.unwrap();
            let ToWriter::Report { number, .. } = receiver.receive().await.unwrap() else {
                panic!("a report");
            };
            for _ in 0..4 {
                tokio::time::sleep(PATIENCE / 2).await;
                let list = HeardPeers::default();
                sender.send(&ToReplica::Heard(list)).await.unwrap();
            }
            let heard = Vec::new();
            let acknowledged = ToReplica::Acknowledged { number, heard };
            sender.send(&acknowledged).await.unwrap();
            receiver.receive::<ToWriter>().await.is_ok()
        });
        let (mut link, _running) = link(&keys);
        let mut reported = Reported {
            number: 0,
            until: Time::default(),
            heard_since: link.clock.moment().heard_since,
        };
        let halves = link.connect(address).await.unwrap();
        let vouching = link.registry.vouching().clone();
        let serving = link.serve(halves, &mut reported);
        let ended = timeout(4 * PATIENCE, serving).await;
        assert!(writer.await.unwrap(), "{ended:?}");
        assert!(vouching.is_valid(link.clock.now()));
    }
}
