//! Everything between a socket and the registry.
//!
//! * `transport`: packets and connections in, replies out.
//! * `policy`: who asks, whether that is proven, what it may do, and how often.
//! * `query`: a message in, what to do about it out. No I/O of its own.
//! * `forward`: names outside all zones go on to upstream resolvers.
//! * `transfer`: a whole zone in messages.
//! * `config`: the configuration as plain data, which all of them read.
//! * `reply`, `wire`, `record_place`, `extended_error`: messages, which all share.
//! * `background`: work that gives way to queries, on threads of its own.
//! * `control`: commands on this machine reach the service by it.

pub mod background;
pub mod config;
pub mod control;
pub mod extended_error;
pub mod forward;
pub mod policy;
pub mod query;
mod record_place;
pub mod reply;
pub mod transfer;
pub mod transport;
pub mod wire;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{clock::Clock, registry::Registry};

use self::{
    config::Config,
    control::Control,
    forward::Forwarder,
    policy::{
        cookie::Cookies,
        limits::{self, Limiter},
    },
    query::responder::Responder,
    transfer::Transfers,
    transport::{
        connections::{Bounds, Connections},
        listen::Listeners,
        shared::{GRACE, PENDING, REGISTERING, Shared},
        tcp, tls, udp,
    },
};

/// How often the runtime shows that it is not held up.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether cookies need a new secret.
const ROTATION_CHECK: Duration = Duration::from_secs(600);

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
        limiter: Limiter,
        clock: Clock,
    ) -> Self {
        let cookies = Arc::new(cookies);
        let limiter = Arc::new(limiter);
        let shared = Arc::new(Shared {
            responder: Responder::new(
                registry,
                &config,
                forwarder,
                cookies.clone(),
                limiter.clone(),
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
        let tick = shared.responder.clock.register_loop();
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
                limiter.report();
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
        let clock = self.shared.responder.clock.clone();
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
