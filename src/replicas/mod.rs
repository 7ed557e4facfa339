//! Replicas of the service that share a store in etcd: one of them is the writer, the
//! others follow.
//!
//! Each commit of the writer comes in by a watch of etcd and goes to the registry, which
//! publishes it. Requests that a follower cannot decide, and the leases that it has
//! renewed, go to the writer over a channel. No follower ends a lease or assigns an ID.
//!
//! * `follow`: what a replica does while another one is the writer, until it is elected.
//! * `lead`: what the writer does.
//! * `hub`, `link`: the writer's and the follower's side of the channel; `channel`,
//!   `message`: its connections and messages; `identities`: who is connected.
//! * `agreed`: what all replicas have in common, which is stored in etcd.

mod agreed;
mod channel;
mod follow;
mod hub;
mod identities;
mod lead;
mod link;
mod message;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use self::{
    agreed::unusable,
    hub::{Hub, Term},
    identities::Identities,
    link::Link,
    message::{ToWriter, ZoneFiles},
};
use crate::{
    clock::Clock,
    registry::Registry,
    server::policy::cookie::Cookies,
    store::{
        StoreError,
        etcd::{Member, Replica, Worker},
    },
};

const CHANNEL: &str = "the channel of the replicas";

/// How long the end of a replica may take.
const LAST: Duration = Duration::from_secs(5);

/// What a replica needs to know.
pub struct Options {
    /// What other replicas are told about this one.
    pub replica: Replica,
    /// How long leases may be renewed without contact with the writer, or with etcd, as
    /// it is configured here.
    pub hold: Duration,
    /// The revision of etcd as of which the registry was started.
    pub revision: i64,
    /// The secrets that all replicas share; `None` if they are configured.
    pub cookies: Option<SharedCookies>,
}

/// The secrets of cookies, which are in etcd.
pub struct SharedCookies(pub Arc<Cookies>);

/// A running replica.
pub struct Replicas {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    _worker: Worker,
}

/// What all tasks of a replica use.
struct Shared {
    member: Arc<Member>,
    registry: Registry,
    clock: Clock,
    replica: Replica,
    hold: Duration,
    /// The address of the writer's channel, while another replica is the writer.
    writer: watch::Sender<Option<SocketAddr>>,
    /// The term of this replica as the writer.
    term: watch::Sender<Option<Term>>,
    cookies: Option<SharedCookies>,
}

/// Why a part of a replica's life has ended.
enum End {
    /// The service stops.
    Stopped,
    /// The process must not go on.
    Failed(StoreError),
}

impl Replicas {
    /// Starts to follow, and to stand for election. The receiver gets the reason if the
    /// process must not go on.
    ///
    /// # Errors
    ///
    /// etcd cannot be reached, or the key pair of the replicas cannot be used.
    pub fn start(
        worker: Worker,
        member: Arc<Member>,
        registry: Registry,
        clock: Clock,
        listener: std::net::TcpListener,
        options: Options,
    ) -> Result<(Self, oneshot::Receiver<StoreError>), StoreError> {
        let keys = agreed::channel_keys(&worker, &member)?;
        let hold = agreed::hold(&worker, &member, options.hold)?;
        let (stop, stopping) = watch::channel(false);
        let (writer, address) = watch::channel(None);
        let (term, current_term) = watch::channel(None);
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(unusable(CHANNEL))?;
        let link = Link {
            registry: registry.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
            hello: ToWriter::Hello {
                identity: member.identity(),
                name: options.replica.name.clone(),
                run: u64::from_ne_bytes(run),
                zones: ZoneFiles::of(registry.zones()),
            },
            hold,
            writer: address,
            stop: stopping.clone(),
        };
        let hub = Hub {
            registry: registry.clone(),
            keys,
            clock: clock.clone(),
            term: current_term,
            name: options.replica.name.clone(),
            identities: Identities::default(),
        };
        let shared = Shared {
            member,
            registry,
            clock,
            replica: options.replica,
            hold,
            writer,
            term,
            cookies: options.cookies,
        };
        let (failed, failure) = oneshot::channel();
        let running = worker.handle().spawn(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    // The service has ended if nobody is interested.
                    let _ = failed.send(unusable(CHANNEL)(error));
                    return;
                }
            };
            let hub = tokio::spawn(hub.run(listener));
            let link = tokio::spawn(link.run());
            let end = shared.live(options.revision, stopping).await;
            hub.abort();
            match end {
                End::Stopped => {
                    // It ends by itself, with a last report.
                    let _ = link.await;
                }
                End::Failed(error) => {
                    link.abort();
                    // The service has ended if nobody is interested.
                    let _ = failed.send(error);
                }
            }
        });
        let replicas = Self {
            stop,
            running,
            _worker: worker,
        };
        Ok((replicas, failure))
    }

    /// Ends the replica, after the service has answered its last query: it reports what
    /// it has heard, and gives up its leadership.
    pub async fn stop(self) {
        // This fails only if the replica has ended.
        let _ = self.stop.send(true);
        // The others notice that it is gone.
        let _ = tokio::time::timeout(LAST, self.running).await;
    }
}

impl Shared {
    /// Follows and leads in turn. `revision` is that of etcd as of which the registry was
    /// started.
    async fn live(&self, mut revision: i64, mut stop: watch::Receiver<bool>) -> End {
        loop {
            let leadership = match self.follow(revision, &mut stop).await {
                Ok(leadership) => leadership,
                Err(end) => return end,
            };
            revision = match self.lead(leadership, &mut stop).await {
                Ok(revision) => revision,
                Err(end) => return end,
            };
        }
    }
}
