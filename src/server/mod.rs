//! The server: everything between a socket and the registry.
//!
//! * `transport`: receives messages and sends replies by UDP, TCP and TLS.
//! * `policy`: identifies and verifies clients, controls access, and limits rates.
//! * `query`: answers messages. It performs no I/O.
//! * `forward`: forwards queries for names outside all zones to upstream resolvers.
//! * `transfer`: writes a whole zone as messages.
//! * `config`: the configuration as plain data, which the other modules read.
//! * `reply`, `wire`, `record_place`, `extended_error`: parts of messages, used by the
//!   other modules.
//! * `background`: runs work with a lower priority than queries.
//! * `readiness`: whether the service can register peers.
//! * `control`: the control socket for commands on this machine.

pub mod background;
pub mod config;
pub mod control;
pub mod extended_error;
pub mod forward;
pub mod policy;
pub mod query;
pub mod readiness;
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
    time::timeout,
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
    readiness::Readiness,
    transfer::Transfers,
    transport::{
        connections::{ConnectionLimits, Connections},
        listen::Listeners,
        shared::{MAX_PENDING, MAX_REGISTERING, SHUTDOWN_TIMEOUT, Shared},
        tcp, tls, udp,
    },
};

/// The interval at which the runtime shows the clock that it is not stalled.
const TICK: Duration = Duration::from_millis(100);

/// The interval at which the age of the cookie secret is checked.
const ROTATION_CHECK: Duration = Duration::from_secs(600);

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    loops: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Starts the server on these sockets, with TLS if it is configured.
    pub fn start(
        listeners: Listeners,
        registry: Registry,
        config: Config,
        forwarder: Option<Forwarder>,
        cookies: Arc<Cookies>,
        limiter: Limiter,
        clock: Clock,
    ) -> Self {
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
            pending: Arc::new(Semaphore::new(MAX_PENDING)),
            registering: Arc::new(Semaphore::new(MAX_REGISTERING)),
            connections: Connections::new(ConnectionLimits::default()),
            transfers: Transfers::new(config.limits.transfers),
        });
        let (stop, stopping) = watch::channel(false);
        let mut loops = JoinSet::new();
        for listener in listeners.plain {
            for socket in listener.udp {
                let (shared, stopping) = (shared.clone(), stopping.clone());
                let runtime = Handle::current();
                loops.spawn_blocking(move || udp::run(socket, &shared, &stopping, runtime));
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
        let every = |interval, action: Box<dyn Fn() + Send>| {
            let mut stopping = stop.subscribe();
            tokio::spawn(async move {
                while timeout(interval, stopping.changed()).await.is_err() {
                    action();
                }
            });
        };
        every(ROTATION_CHECK, Box::new(move || cookies.rotate()));
        // This loop stands for all of the runtime: TCP, TLS, and pending replies.
        let tick = shared.responder.clock.register_loop();
        every(TICK, Box::new(move || tick.tick()));
        every(limits::REPORT_INTERVAL, Box::new(move || limiter.report()));
        Self {
            shared,
            loops,
            stop,
        }
    }

    /// Starts to answer commands on the control socket.
    pub fn serve_control(&self, control: Control) {
        tokio::spawn(control.run(self.readiness(), self.stop.subscribe()));
    }

    /// Becomes true when the server stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    pub fn readiness(&self) -> Readiness {
        Readiness {
            registry: self.shared.responder.registry.clone(),
            clock: self.shared.responder.clock.clone(),
        }
    }

    /// Waits until a loop ends, which is always a failure.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.loops.join_next().await {
            Some(Ok(Err(error))) => anyhow::Error::new(error).context("a socket failed"),
            Some(Err(error)) => anyhow::Error::new(error).context("internal error"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the service stopped unexpectedly"),
        }
    }

    /// Stops receiving messages, and returns when all received messages are answered
    /// or the time limit has passed.
    pub async fn stop(mut self) {
        // This fails only if all loops have ended already.
        let _ = self.stop.send(true);
        let answered = async {
            while self.loops.join_next().await.is_some() {}
            let _ = self.shared.pending.acquire_many(MAX_PENDING as u32).await;
            let registering = &self.shared.registering;
            let _ = registering.acquire_many(MAX_REGISTERING as u32).await;
            self.shared.connections.ended().await;
        };
        if timeout(SHUTDOWN_TIMEOUT, answered).await.is_err() {
            tracing::warn!("not all messages were answered within {SHUTDOWN_TIMEOUT:?}");
        }
    }
}
