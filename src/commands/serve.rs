//! `paramd serve`: the service itself.

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};
use tracing::{info, warn};

use crate::{
    cli::{Serve, StoreKind},
    clock::Clock,
    registry::Registry,
    server::{
        Server, background,
        config::{self, Config},
        control::Control,
        cookie::Cookies,
        forward::Forwarder,
        limits::Limits,
        listen::{self, Listener, Listeners},
    },
    store::{LocalStore, local::Opening},
};

use super::{
    ADDRESS_FILE, advised,
    backup::{self, Backup},
    missing_keys, told, zones_in,
};

/// How long the last commit may take when the service ends.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// As many open files as the service can make use of.
const FILES: u64 = 16_384;

pub fn run(options: &Serve) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Serve) -> anyhow::Result<()> {
    // Before anything else: a signal that comes early must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (ignored, mut others) = mpsc::channel(1);
    for (kind, name) in IGNORED {
        tokio::spawn(report(signal(kind())?, name, ignored.clone()));
    }

    raise_file_limit();
    let mut zones = zones_in(&options.zones.zones)?;
    let mut config = match &options.config.config {
        Some(path) => config::read(path).map_err(told)?,
        None => Config::default(),
    };
    let missing = missing_keys(&zones, &config.keys);
    if !missing.is_empty() {
        return Err(told(missing));
    }
    let data = &options.data.data;
    let opening = match options.new {
        true => Opening::Anew,
        false => Opening::Serve,
    };
    let mut store = match options.store {
        StoreKind::Sled => LocalStore::open(data, opening).map_err(advised)?,
    };
    let origins: Vec<String> = zones.iter().map(|zone| zone.origin_text()).collect();
    store.dump_others(&origins);
    let dumps = store.dumps().clone();
    let cookies = match config.cookie_secrets.take() {
        Some((current, previous)) => Cookies::configured(current, previous),
        None => Cookies::own(data).context("cannot make a secret for cookies")?,
    };
    let limits = Limits::new(&config.limits).context("cannot make a secret for limits")?;
    let listeners = Listeners {
        plain: listen::open(&options.listen)?,
        tls: match &config.tls {
            Some(tls) => listen::open_tls(&tls.listen)?,
            None => Vec::new(),
        },
    };
    let servers = listen::reachable(&listeners.plain);
    for zone in &mut zones {
        zone.servers.clone_from(&servers);
    }
    let forwarder = match options.forward.as_slice() {
        [] => None,
        upstreams => Some(Forwarder::new(upstreams)),
    };
    let clock = Clock::start();
    let (registry, mut writer) = Registry::start(zones, Box::new(store), clock.clone())?;
    note_address(data, &listeners.plain)?;
    let backup = Arc::new(Mutex::new(Backup::new(data, dumps, registry.zones())));
    let plain = listeners
        .plain
        .iter()
        .map(|listener| listener.address.to_string());
    let by_tls = listeners
        .tls
        .iter()
        .map(|listener| format!("by TLS on {}", listener.address));
    let addresses: Vec<String> = plain.chain(by_tls).collect();
    let mut server = Server::start(
        listeners, registry, config, forwarder, cookies, limits, clock,
    );
    match Control::open(data) {
        Ok(control) => server.control(control),
        // The service does without.
        Err(error) => warn!(
            "cannot open the control socket in {}: {error}",
            data.display()
        ),
    }
    // Whoever started the service may have closed its standard output.
    let _ = writeln!(
        std::io::stdout(),
        "paramd answers on {}",
        addresses.join(", ")
    );

    let dumping = tokio::spawn(dump_at_times(backup.clone()));
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok("SIGTERM"),
            _ = interrupt.recv() => break Ok("SIGINT"),
            Some(name) = others.recv() => info!("{name} is ignored: SIGTERM ends the service"),
            error = server.failed() => break Err(error),
            _ = &mut writer => break Err(anyhow!("the writer has failed: see the log")),
        }
    };
    dumping.abort();
    server.stop().await;
    let signal = ended?;
    // The registry is gone with the server; its writer ends when it has
    // committed what was waiting, unless the disk hangs.
    tokio::time::timeout(LAST_COMMIT, writer)
        .await
        .context("the disk hangs: the last registrations may not be on it")?
        .context("the writer has failed: see the log")?;
    // A dump that was begun before is waited for.
    let last = tokio::task::spawn_blocking(move || locked(&backup).take());
    last.await.context("a defect in the service")?;
    info!("ended by {signal}");
    Ok(())
}

type Kind = fn() -> SignalKind;

/// Signals that end a process which does not handle them.
const IGNORED: [(Kind, &str); 4] = [
    (SignalKind::hangup, "SIGHUP"),
    (SignalKind::quit, "SIGQUIT"),
    (SignalKind::user_defined1, "SIGUSR1"),
    (SignalKind::user_defined2, "SIGUSR2"),
];

/// Passes on the name of a signal each time that it comes.
async fn report(mut signals: Signal, name: &'static str, to: mpsc::Sender<&'static str>) {
    while signals.recv().await.is_some() && to.send(name).await.is_ok() {}
}

/// Dumps the zones when it is time to, with what the threads that answer leave of
/// the processor.
async fn dump_at_times(backup: Arc<Mutex<Backup>>) {
    let mut interval = tokio::time::interval(backup::LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let backup = backup.clone();
        if let Err(error) = background::run("backup", move || locked(&backup).look()).await {
            warn!("no zone can be dumped: there can be no further thread ({error})");
        }
    }
}

/// Also after a panic: each dump stands for itself.
fn locked(backup: &Mutex<Backup>) -> MutexGuard<'_, Backup> {
    backup.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the service have as many open files as it may: each TCP connection is
/// one. Less does no harm, only fewer connections.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

/// Leaves a note where the tools find the server that runs on the data.
fn note_address(data: &Path, listeners: &[Listener]) -> anyhow::Result<()> {
    // The tools ask from this machine, and only loopback may transfer by default.
    let is_local = |listener: &&Listener| {
        let ip = listener.address.ip();
        ip.is_loopback() || ip.is_unspecified()
    };
    let local = listeners.iter().find(is_local);
    let Some(listener) = local.or(listeners.first()) else {
        return Ok(());
    };
    let mut address = listener.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let path = data.join(ADDRESS_FILE);
    // The service does without it, so a full disk does not keep it from starting.
    if let Err(error) = fs::write(&path, format!("{address}\n")) {
        warn!("cannot write {}: {error}", path.display());
    }
    Ok(())
}
