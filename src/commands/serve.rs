//! `paramd serve`: the service itself.

use std::{fs, io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    cli::{Serve, StoreKind},
    clock::Clock,
    registry::Registry,
    server::{
        Server,
        config::{self, Config},
        cookie::Cookies,
        forward::Forwarder,
        limits::Limits,
        listen::{self, Listener, Listeners},
    },
    store::{SledStore, Store},
};

use super::{
    ADDRESS_FILE,
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
    let store: Box<dyn Store> = match options.store {
        StoreKind::Sled => Box::new(SledStore::open(data)?),
    };
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
    let (registry, mut writer) = Registry::start(zones, store, clock.clone())?;
    note_address(data, &listeners.plain)?;
    let mut backup = Backup::new(data, registry.zones());
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
    // Whoever started the service may have closed its standard output.
    let _ = writeln!(
        std::io::stdout(),
        "paramd answers on {}",
        addresses.join(", ")
    );

    let mut interval = tokio::time::interval(backup::INTERVAL);
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok("SIGTERM"),
            _ = interrupt.recv() => break Ok("SIGINT"),
            error = server.failed() => break Err(error),
            _ = &mut writer => break Err(anyhow!("the writer has failed: see the log")),
            _ = interval.tick() => backup = taken(backup).await?,
        }
    };
    server.stop().await;
    let signal = ended?;
    // The registry is gone with the server; its writer ends when it has
    // committed what was waiting, unless the disk hangs.
    tokio::time::timeout(LAST_COMMIT, writer)
        .await
        .context("the disk hangs: the last registrations may not be on it")?
        .context("the writer has failed: see the log")?;
    taken(backup).await?;
    info!("ended by {signal}");
    Ok(())
}

/// Takes a backup, away from the threads that answer.
async fn taken(mut backup: Backup) -> anyhow::Result<Backup> {
    let taking = tokio::task::spawn_blocking(move || {
        backup.take();
        backup
    });
    taking.await.context("a defect in the service")
}

/// Lets the service have as many open files as it may: each TCP connection is
/// one. Less does no harm, only fewer connections.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(FILES), hard);
    }
}

/// Leaves a note where the tools find the server that runs on the data.
fn note_address(data: &Path, listeners: &[Listener]) -> anyhow::Result<()> {
    let Some(listener) = listeners.first() else {
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
        tracing::warn!("cannot write {}: {error}", path.display());
    }
    Ok(())
}
