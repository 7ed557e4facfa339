//! A store in etcd: what it needs of options and configuration.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;

use super::{
    lost::{self, lost_zones},
    started::{Sharing, Started, start_error},
};
use crate::{
    clock::Clock,
    commands::with_advice,
    memory,
    registry::Registry,
    replicas::{Options, Replicas, SharedCookies},
    server::{config::Config, policy::cookie::Cookies},
    store::{
        Contents,
        dumps::Dumps,
        etcd::{
            Access, Listing, Login, Member, OwnCertificate, Replica, Settings, SharedKey, Tls,
            Worker, look,
        },
    },
    zone::Zone,
};

/// The access to etcd, and everything that is stored there.
pub struct Opened {
    worker: Worker,
    member: Arc<Member>,
    members: Vec<String>,
    listing: Listing,
    cookies: Option<SharedCookies>,
}

/// Opens the data directory, and reads what is stored. Fails if dumps in the data
/// directory name peers of a zone that etcd has lost; with `new`, such a zone is taken
/// as etcd has it.
pub async fn open(
    data: &Path,
    members: &[String],
    config: &Config,
    clock: &Clock,
    new: bool,
) -> anyhow::Result<Opened> {
    let opened = read(data, members, config, clock).await?;
    let stored = &opened.listing.stored.zones;
    let serial = |origin: &str| stored.get(origin).and_then(|zone| zone.serial).unwrap_or(0);
    let lost = lost_zones(opened.member.dumps(), serial);
    if lost.is_empty() {
        return Ok(opened);
    }
    let prefix = &config.etcd.prefix;
    if !new {
        return Err(lost::refusal(&lost, opened.member.name(), prefix, data));
    }
    let dumps = opened.dumps();
    // This frees the data directory.
    drop(opened);
    let settings = settings(members, config);
    let directory = data.to_owned();
    let begin = move || lost::begin(&directory, &settings, &dumps, &lost);
    let begun = tokio::task::spawn_blocking(begin);
    let begun = begun.await.context("cannot start without peers")?;
    begun.map_err(with_advice)?;
    read(data, members, config, clock).await
}

async fn read(
    data: &Path,
    members: &[String],
    config: &Config,
    clock: &Clock,
) -> anyhow::Result<Opened> {
    let worker = Worker::start().context("cannot start a thread")?;
    let settings = settings(members, config);
    let member = Member::open(data, &settings, clock.clone(), worker.handle());
    let member = Arc::new(member.map_err(with_advice)?);
    let reading = member.clone();
    let read = worker
        .handle()
        .spawn(async move { reading.read_first().await });
    let listing = read.await.context("etcd cannot be read")?;
    let advised = |error| lost::with_restore_advice(error, &config.etcd.prefix);
    Ok(Opened {
        worker,
        member,
        members: members.to_vec(),
        listing: listing.map_err(advised)?,
        cookies: None,
    })
}

impl Opened {
    pub fn dumps(&self) -> Dumps {
        self.member.dumps().clone()
    }

    /// The cookies with the secrets that all replicas share. The first one generates
    /// them.
    pub async fn cookies(&mut self) -> anyhow::Result<Arc<Cookies>> {
        let own = Cookies::generate_text().context("cannot generate a secret for cookies")?;
        let member = self.member.clone();
        let stored = self.worker.handle().spawn(async move {
            member
                .shared_value(SharedKey::Cookies, own.into_bytes())
                .await
        });
        let stored = stored.await.context("etcd cannot be read")?;
        let stored = stored.map_err(with_advice)?;
        let cookies = Cookies::shared(&String::from_utf8_lossy(&stored.value))?;
        let cookies = Arc::new(cookies);
        self.cookies = Some(SharedCookies(cookies.clone()));
        Ok(cookies)
    }

    /// Starts to follow the other replicas.
    pub fn start(
        self,
        zones: Vec<Zone>,
        address: &str,
        config: &Config,
        clock: Clock,
    ) -> anyhow::Result<Started> {
        let Listing { stored, revision } = self.listing;
        let (registry, ended) =
            Registry::join(zones, stored, clock.clone()).map_err(start_error)?;
        memory::trim();
        let listen = config.etcd.channel;
        let listener = TcpListener::bind(listen)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .with_context(|| {
                format!(
                    "cannot listen for other replicas on {listen}: set another address as \
                     `channel` in [etcd]"
                )
            })?;
        let bound = listener.local_addr()?;
        let options = Options {
            replica: Replica {
                name: config.identity.name.clone().unwrap_or_else(host_name),
                address: address.to_owned(),
                channel: Some(advertised(bound, &self.members)),
            },
            hold: config.etcd.hold,
            revision,
            cookies: self.cookies,
        };
        let (replicas, failure) = Replicas::start(
            self.worker,
            self.member,
            registry.clone(),
            clock,
            listener,
            options,
        )
        .map_err(with_advice)?;
        Ok(Started {
            registry,
            ended,
            sharing: Sharing::Replicas {
                replicas: Box::new(replicas),
                failure,
                prefix: config.etcd.prefix.clone(),
            },
        })
    }
}

/// The address at which other replicas reach this one: where it listens on all
/// addresses, the one from which it reaches etcd.
fn advertised(bound: SocketAddr, members: &[String]) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let any = if bound.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let reached = members.iter().find_map(|member| {
        // Nothing is sent.
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(member).ok()?;
        Some(socket.local_addr().ok()?.ip().to_canonical())
    });
    SocketAddr::new(reached.unwrap_or_else(|| bound.ip()), bound.port())
}

/// What the store needs to know.
pub fn settings(members: &[String], config: &Config) -> Settings {
    let etcd = config.etcd.clone();
    Settings {
        access: Access {
            members: members.to_vec(),
            tls: etcd.tls.map(|tls| Tls {
                ca: tls.ca,
                own: tls.own.map(|own| OwnCertificate {
                    certificate: own.certificate,
                    key: own.key,
                }),
            }),
            login: etcd.login.map(|login| Login {
                user: login.user,
                password: login.password,
            }),
        },
        prefix: etcd.prefix,
        lease: etcd.lease,
    }
}

/// What etcd has of each zone, by origin.
pub fn stored_in_etcd(
    members: &[String],
    config: &Config,
) -> anyhow::Result<BTreeMap<String, Contents>> {
    look(&settings(members, config)).map_err(with_advice)
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "a replica without a name".to_owned(),
        name => name.to_owned(),
    }
}
