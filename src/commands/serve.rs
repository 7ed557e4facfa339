//! `paramd serve`: runs the service.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::MissedTickBehavior,
};
use tracing::{info, warn};

use crate::{
    cli::Serve,
    clock::Clock,
    http,
    server::{
        Server, background,
        control::Control,
        forward::Forwarder,
        policy::{cookie::Cookies, limits::Limiter},
        transport::listen::{self, Listener, Listeners},
    },
};

use super::{
    ADDRESS_FILE, config_in,
    dumper::{self, Dumper},
    fail_on_any, missing_keys, problem_list,
    store::{self, Started},
    zones_in,
};

/// How long the last commit may take when the service ends.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// The number of tasks that a busy thread runs before it looks for new connections and
/// for data on the others. Each task may build an answer of 64 kB, which takes a
/// millisecond; with tokio's 61, connections waited until the kernel accepted no more.
const TASKS_BETWEEN_EVENTS: u32 = 8;

/// The maximum number of open files that the service can use.
const FILES: u64 = 16_384;

pub fn run(options: &Serve) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(TASKS_BETWEEN_EVENTS)
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Serve) -> anyhow::Result<()> {
    // First of all, so that no early signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // These would end the process if it did not handle them.
    for (kind, name) in [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ] {
        tokio::spawn(ignore(signal(kind)?, name));
    }

    raise_file_limit();
    let mut zones = zones_in(&options.zones.zones)?;
    let mut config = config_in(&options.config).map_err(problem_list)?;
    fail_on_any(missing_keys(&zones, &config.keys))?;
    let data = &options.data.data;
    let clock = Clock::start();
    let origins: Vec<String> = zones.iter().map(|zone| zone.origin_text()).collect();
    let mut opened = tokio::select! {
        opened = store::open(options, &config, &origins, &clock) => opened?,
        _ = terminate.recv() => return stopped("SIGTERM"),
        _ = interrupt.recv() => return stopped("SIGINT"),
    };
    let cookies = match config.cookie_secrets.take() {
        Some(secrets) => Arc::new(Cookies::configured(secrets.current, secrets.previous)),
        None => opened.cookies(data).await?,
    };
    let limits =
        Limiter::new(&config.limits).context("cannot generate a secret for rate limits")?;
    let listeners = Listeners {
        plain: listen::open(&options.listen)?,
        tls: match &config.tls {
            Some(tls) => listen::open_tls(&tls.listen)?,
            None => Vec::new(),
        },
    };
    let http = http::server::open(&options.http)?;
    let servers = listen::reachable(&listeners.plain);
    for zone in &mut zones {
        zone.servers.clone_from(&servers);
    }
    let forwarder = match options.forward.as_slice() {
        [] => None,
        upstreams => Some(Forwarder::new(upstreams)),
    };
    let mut addresses = Vec::new();
    for listener in &listeners.plain {
        addresses.push(listener.address.to_string());
    }
    for listener in &listeners.tls {
        addresses.push(format!("by TLS on {}", listener.address));
    }
    for listener in &http {
        addresses.push(format!("by HTTP on {}", listener.local_addr()?));
    }
    let addresses = addresses.join(", ");
    let dumps = opened.dumps();
    let Started {
        registry,
        ended: mut registry_ended,
        mut sharing,
    } = opened.start(zones, &addresses, &config, clock.clone())?;
    note_address(data, &listeners.plain);
    let dumper = Arc::new(Mutex::new(Dumper::new(data, dumps, registry.zones())));
    let mut server = Server::start(
        listeners, registry, config, forwarder, cookies, limits, clock,
    );
    http::server::start(http, server.readiness(), &server.stopping());
    match Control::open(data) {
        Ok(control) => server.serve_control(control),
        // The service works without it.
        Err(error) => warn!(
            "cannot open the control socket in {}: {error}",
            data.display()
        ),
    }
    // Standard output may have been closed.
    let _ = writeln!(std::io::stdout(), "paramd answers on {addresses}");

    let dumping = tokio::spawn(dump_at_times(dumper.clone()));
    // Whether the store lacks what this process has.
    let mut has_lost = false;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        error = server.failure() => Err(error),
        error = sharing.failed() => {
            has_lost = true;
            Err(error)
        }
        _ = &mut registry_ended => Err(anyhow!("the writer has failed: see the log")),
    };
    dumping.abort();
    server.stop().await;
    sharing.stop().await;
    let signal = match ended {
        Ok(signal) => signal,
        Err(error) if has_lost => return Err(with_last_dumps(error, dumper).await),
        Err(error) => return Err(error),
    };
    // Nobody has the registry any more. Its thread ends after it has committed the
    // waiting requests, unless the disk hangs.
    tokio::time::timeout(LAST_COMMIT, registry_ended)
        .await
        .context("the disk does not respond: the last registrations may be lost")?
        .context("the writer has failed: see the log")?;
    // This waits for a dump that is in progress.
    let last = tokio::task::spawn_blocking(move || locked(&dumper).take());
    last.await.context("the last dump failed")?;
    stopped(signal)
}

/// Dumps what the process has and its store may have lost, and adds to the error where
/// that is.
async fn with_last_dumps(error: anyhow::Error, dumper: Arc<Mutex<Dumper>>) -> anyhow::Error {
    let last = tokio::task::spawn_blocking(move || {
        let mut dumper = locked(&dumper);
        dumper.take();
        dumper.newest()
    });
    let dumps = last.await.unwrap_or_default();
    if dumps.is_empty() {
        return error;
    }
    let dumps: Vec<String> = dumps.iter().map(|it| it.display().to_string()).collect();
    anyhow!(
        "{error}. The newest dumps of this replica are {}",
        dumps.join(", ")
    )
}

fn stopped(signal: &str) -> anyhow::Result<()> {
    info!("stopped by {signal}");
    Ok(())
}

async fn ignore(mut signals: Signal, name: &str) {
    while signals.recv().await.is_some() {
        info!("{name} is ignored: use SIGTERM to stop the service");
    }
}

/// Takes the dumps that are due, at a lower priority than the threads that answer
/// queries.
async fn dump_at_times(dumper: Arc<Mutex<Dumper>>) {
    let mut interval = tokio::time::interval(dumper::LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let dumper = dumper.clone();
        if let Err(error) = background::run("dumper", move || locked(&dumper).look()).await {
            warn!("cannot dump zones: cannot start a thread: {error}");
        }
    }
}

/// The lock is usable after a panic, since each dump is independent.
fn locked(dumper: &Mutex<Dumper>) -> MutexGuard<'_, Dumper> {
    dumper.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Raises the limit of open files: each TCP connection is one. A lower limit only
/// means fewer connections.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

/// Writes the file in which commands find the server of the data directory.
fn note_address(data: &Path, listeners: &[Listener]) {
    // Commands connect from this machine, and by default only loopback addresses
    // may transfer.
    let is_local = |listener: &&Listener| {
        let ip = listener.address.ip();
        ip.is_loopback() || ip.is_unspecified()
    };
    let local = listeners.iter().find(is_local);
    let Some(listener) = local.or(listeners.first()) else {
        return;
    };
    let mut address = listener.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let path = data.join(ADDRESS_FILE);
    // The service works without it, so a full disk must not keep it from
    // starting.
    if let Err(error) = fs::write(&path, format!("{address}\n")) {
        warn!("cannot write {}: {error}", path.display());
    }
}
