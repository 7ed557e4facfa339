//! Opens the store that `--store` names, for `paramd serve`.

use std::path::Path;

use anyhow::bail;
use tokio::sync::{oneshot, watch};

use crate::{
    cli::{Serve, StoreKind},
    clock::Clock,
    server::config::Config,
    store::{self, LocalStore, Store, StoreError, dumps::Dumps, local::OpenMode},
};

use super::with_advice;

/// A store that is open, which the service may write to.
pub struct Opened {
    pub store: Box<dyn Store>,
    pub dumps: Dumps,
    pub end: End,
    pub control: OwnControl,
}

/// Tells why a store is of no more use while the service is running.
#[cfg_attr(
    not(feature = "etcd"),
    allow(dead_code, reason = "only the store in etcd has it")
)]
pub enum End {
    /// This store never is.
    Never,
    Told(oneshot::Receiver<StoreError>),
}

impl End {
    /// Waits for that.
    pub async fn reached(&mut self) -> anyhow::Error {
        if let Self::Told(receiver) = self
            && let Ok(error) = receiver.await
        {
            return with_advice(error);
        }
        // The store is closed, as at the end of the service.
        std::future::pending().await
    }
}

/// The control socket of the service.
#[cfg_attr(
    not(feature = "etcd"),
    allow(dead_code, reason = "only the store in etcd has it")
)]
pub enum OwnControl {
    /// To be opened with the server.
    Later,
    /// It has been answering since the service began to wait as a standby, until
    /// this is dropped.
    Running(#[allow(dead_code, reason = "it is dropped")] watch::Sender<bool>),
}

/// Opens the store. With etcd, this waits until the replica is the writer.
pub async fn open(
    options: &Serve,
    config: &Config,
    origins: &[String],
    clock: &Clock,
) -> anyhow::Result<Opened> {
    let data = &options.data.data;
    match &options.store {
        StoreKind::Sled => open_local(options, origins),
        StoreKind::Etcd(_) if options.new => bail!(
            "--new is for --store sled: to start with what etcd has, use a new data directory"
        ),
        StoreKind::Etcd(members) => {
            check_is_not_local(data)?;
            etcd::open(data, members, config, &options.listen, clock).await
        }
    }
}

fn open_local(options: &Serve, origins: &[String]) -> anyhow::Result<Opened> {
    let data = &options.data.data;
    check_is_not_in_etcd(data)?;
    let mode = if options.new {
        OpenMode::New
    } else {
        OpenMode::Serve
    };
    let mut store = LocalStore::open(data, mode).map_err(with_advice)?;
    store.dump_others(origins);
    let dumps = store.dumps().clone();
    Ok(Opened {
        store: Box::new(store),
        dumps,
        end: End::Never,
        control: OwnControl::Later,
    })
}

/// Fails if the registrations of the data directory are in etcd.
pub fn check_is_not_in_etcd(data: &Path) -> anyhow::Result<()> {
    if store::is_in_etcd(data) {
        bail!(
            "the registrations of {} are in etcd: specify it with --store etcd://…, or another \
             directory with --data",
            data.display()
        );
    }
    Ok(())
}

/// Fails if the data directory has a database.
pub fn check_is_not_local(data: &Path) -> anyhow::Result<()> {
    if store::local::has_database(data) {
        bail!(
            "{} has a database of --store sled: specify another directory with --data. To move \
             the registrations to etcd, write them to a file with `paramd dump ZONE --format \
             json`, stop the service, and run `paramd restore FILE --store etcd://…` with the \
             other directory",
            data.display()
        );
    }
    Ok(())
}

#[cfg(feature = "etcd")]
pub mod etcd {
    //! What a store in etcd needs of options and configuration.

    use std::{fs, net::SocketAddr, path::Path};

    use tokio::sync::watch;
    use tracing::warn;

    use super::{End, Opened, OwnControl, with_advice};
    use crate::{
        clock::Clock,
        server::{
            config::{self, Config},
            control::Control,
        },
        store::etcd::{Access, Candidate, Login, OwnCertificate, Replica, Settings, Tls},
    };

    /// Opens the store when this replica is the writer.
    pub async fn open(
        data: &Path,
        members: &[String],
        config: &Config,
        listen: &[SocketAddr],
        clock: &Clock,
    ) -> anyhow::Result<Opened> {
        let settings = settings(members, config, listen);
        let candidate = Candidate::new(data, settings).map_err(with_advice)?;
        // A standby is healthy, too.
        let (stop, stopping) = watch::channel(false);
        match Control::open(data) {
            Ok(control) => drop(tokio::spawn(control.run(clock.clone(), stopping))),
            // The service works without it.
            Err(error) => warn!(
                "cannot open the control socket in {}: {error}",
                data.display()
            ),
        }
        let mut store = candidate.elected().await.map_err(with_advice)?;
        let dumps = store.dumps().clone();
        let end = store.ended().map_or(End::Never, End::Told);
        Ok(Opened {
            store: Box::new(store),
            dumps,
            end,
            control: OwnControl::Running(stop),
        })
    }

    /// What the store needs to know.
    pub fn settings(members: &[String], config: &Config, listen: &[SocketAddr]) -> Settings {
        let config::etcd::Etcd {
            prefix,
            lease,
            tls,
            login,
        } = config.etcd.clone();
        let tls = tls.map(|tls| Tls {
            ca: tls.ca,
            own: tls.own.map(|own| OwnCertificate {
                certificate: own.certificate,
                key: own.key,
            }),
        });
        let login = login.map(|login| Login {
            user: login.user,
            password: login.password,
        });
        Settings {
            access: Access {
                members: members.to_vec(),
                tls,
                login,
            },
            prefix,
            lease,
            replica: Replica {
                name: config.identity.name.clone().unwrap_or_else(host_name),
                address: addresses(listen),
            },
        }
    }

    fn host_name() -> String {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" => "a replica without a name".to_owned(),
            name => name.to_owned(),
        }
    }

    fn addresses(listen: &[SocketAddr]) -> String {
        let addresses: Vec<String> = listen.iter().map(ToString::to_string).collect();
        if addresses.is_empty() {
            "port 53".to_owned()
        } else {
            addresses.join(", ")
        }
    }
}

#[cfg(not(feature = "etcd"))]
pub mod etcd {
    //! A build without the store in etcd.

    use std::{net::SocketAddr, path::Path};

    use anyhow::bail;

    use super::Opened;
    use crate::{clock::Clock, server::config::Config};

    #[allow(clippy::unused_async, reason = "the other one waits")]
    pub async fn open(
        _data: &Path,
        _members: &[String],
        _config: &Config,
        _listen: &[SocketAddr],
        _clock: &Clock,
    ) -> anyhow::Result<Opened> {
        bail!(super::LACKING)
    }
}

/// The error of a build without the store in etcd.
#[cfg(not(feature = "etcd"))]
pub const LACKING: &str =
    "this build of paramd has no store in etcd: build it with the feature `etcd`";
