//! The wire: sockets, who may ask what, and what becomes of a message.
//!
//! * [`listen`]: opens the sockets.
//! * `udp`, `tcp`: the loops that receive and send; `batch`: packets by the
//!   batch.
//! * `connections`: those that are open, and the memory that they may take.
//! * [`tls`]: the handshake of DNS over TLS, and its certificates.
//! * [`short`]: the short way of a plain query, from packet to reply; `client`:
//!   who asks it, and the end of the reply.
//! * [`late`]: plain queries that wait for the registry.
//! * `wire`: a query as it stands in its packet.
//! * [`handler`]: a message in, what to do about it out. No I/O of its own.
//! * [`register`]: the part of it that registers, renews and leaves.
//! * [`access`]: who may query, register, transfer, update, forward.
//! * [`source`]: where a message came from, and whether that is proven.
//! * [`reply`]: puts an answer into a message of the right size.
//! * [`transfer`]: a whole zone in messages; `packing`: records into these.
//! * [`background`]: work that gives way to queries, on threads of its own.
//! * `update`: administrators change a zone.
//! * [`limits`]: how much the service does for others, by `rate`; `tally`: what the
//!   log is told of it.
//! * [`cookie`]: DNS cookies, by which UDP can be trusted.
//! * [`tsig`]: signed messages.
//! * `replay`: those that come a second time.
//! * `identity`: what the service tells of itself.
//! * [`config`]: the configuration file.
//! * [`control`]: commands on this machine reach the service by it.
//! * [`forward`]: names outside all zones go on to upstream resolvers.

pub mod access;
pub mod background;
mod batch;
mod client;
pub mod config;
mod connections;
pub mod control;
pub mod cookie;
pub mod forward;
pub mod handler;
mod identity;
pub mod late;
pub mod limits;
pub mod listen;
mod packing;
mod padding;
mod rate;
pub mod register;
mod replay;
pub mod reply;
mod secrets;
pub mod short;
pub mod source;
mod tally;
mod tcp;
pub mod tls;
pub mod transfer;
pub mod tsig;
mod udp;
mod update;
mod wire;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{clock::Clock, registry::Registry};

use self::{
    config::Config,
    connections::{Bounds, Connections},
    control::Control,
    cookie::Cookies,
    forward::Forwarder,
    handler::Handler,
    limits::Limits,
    listen::Listeners,
    transfer::Transfers,
};

/// How many messages may wait for the disk or for an upstream at once. Each
/// takes a few kB; whoever comes beyond that gets no answer and asks again.
const PENDING: usize = 4_096;

/// How many plain queries may wait for the registry at once: nearly as many as
/// it takes. Each takes a few hundred octets.
const REGISTERING: usize = 16_000;

/// How long the disk or an upstream may take before nobody waits any more. Who
/// asked has given up by then, and asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the runtime shows that it is not held up.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether cookies need a new secret.
const ROTATION_CHECK: Duration = Duration::from_secs(600);

/// How long messages that are being answered may take when the service ends.
/// Transfers are then broken off.
const GRACE: Duration = Duration::from_secs(5);

/// What the loops share.
struct Shared {
    handler: Handler,
    pending: Arc<Semaphore>,
    registering: Arc<Semaphore>,
    connections: Connections,
    transfers: Transfers,
}

/// A server that answers.
pub struct Server {
    shared: Arc<Shared>,
    loops: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Starts to answer on all of these sockets; by TLS if that is configured.
    pub fn start(
        listeners: Listeners,
        registry: Registry,
        config: Config,
        forwarder: Option<Forwarder>,
        cookies: Cookies,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        let cookies = Arc::new(cookies);
        let limits = Arc::new(limits);
        let shared = Arc::new(Shared {
            handler: Handler::new(
                registry,
                &config,
                forwarder,
                cookies.clone(),
                limits.clone(),
                clock,
            ),
            pending: Arc::new(Semaphore::new(PENDING)),
            registering: Arc::new(Semaphore::new(REGISTERING)),
            connections: Connections::new(Bounds::default()),
            transfers: Transfers::new(config.limits.transfers),
        });
        let (stop, stopping) = watch::channel(false);
        let mut loops = JoinSet::new();
        for listener in listeners.plain {
            for socket in listener.udp {
                let (shared, stopping) = (shared.clone(), stopping.clone());
                let runtime = Handle::current();
                loops.spawn_blocking(move || udp::run(socket, &shared, &stopping, &runtime));
            }
            let tcp = tcp::run(listener.tcp, None, shared.clone(), stopping.clone());
            loops.spawn(tcp);
        }
        if let Some(tls) = config.tls {
            let credentials = Arc::new(tls.credentials);
            for listener in listeners.tls {
                let credentials = Some(credentials.clone());
                let tcp = tcp::run(listener.tcp, credentials, shared.clone(), stopping.clone());
                loops.spawn(tcp);
            }
            tokio::spawn(tls::watch(credentials, stopping));
        }
        let mut stopped = stop.subscribe();
        tokio::spawn(async move {
            while tokio::time::timeout(ROTATION_CHECK, stopped.changed())
                .await
                .is_err()
            {
                cookies.rotate();
            }
        });
        // For all that the runtime receives: TCP, TLS, and replies that wait.
        let tick = shared.handler.clock().register_loop();
        let mut stopped = stop.subscribe();
        tokio::spawn(async move {
            while tokio::time::timeout(TICK, stopped.changed()).await.is_err() {
                tick.tick();
            }
        });
        let mut stopped = stop.subscribe();
        tokio::spawn(async move {
            while tokio::time::timeout(limits::REPORTS, stopped.changed())
                .await
                .is_err()
            {
                limits.report();
            }
        });
        Self {
            shared,
            loops,
            stop,
        }
    }

    /// Answers commands on this machine, too.
    pub fn control(&self, control: Control) {
        let clock = self.shared.handler.clock().clone();
        tokio::spawn(control.run(clock, self.stop.subscribe()));
    }

    /// Ends when a loop does, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.loops.join_next().await {
            Some(Ok(Err(error))) => anyhow::Error::new(error).context("a socket has failed"),
            Some(Err(error)) => anyhow::Error::new(error).context("a defect in the service"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the service has stopped by itself"),
        }
    }

    /// Takes no more messages, answers those it has, and ends.
    pub async fn stop(mut self) {
        // The receivers are gone only where the loops have ended already.
        let _ = self.stop.send(true);
        let answered = async {
            while self.loops.join_next().await.is_some() {}
            let _ = self.shared.pending.acquire_many(PENDING as u32).await;
            let registering = &self.shared.registering;
            let _ = registering.acquire_many(REGISTERING as u32).await;
            self.shared.connections.ended().await;
        };
        if tokio::time::timeout(GRACE, answered).await.is_err() {
            tracing::warn!("some messages were not answered within {GRACE:?}");
        }
    }
}
