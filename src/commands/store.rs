//! Opens the store that `--store` names, and starts the registry on it, for
//! `paramd serve`.

#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "etcd")]
pub mod lost;
mod started;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};

use crate::{
    cli::{Serve, StoreKind},
    clock::Clock,
    registry::Registry,
    server::{config::Config, policy::cookie::Cookies},
    store::{self, LocalStore, dumps::Dumps, local::OpenMode},
    zone::Zone,
};

use self::started::start_error;
pub use self::started::{Sharing, Started};
use super::with_advice;

/// A store that is open.
pub enum Opened {
    Local(Box<LocalStore>),
    #[cfg(feature = "etcd")]
    Shared(Box<etcd::Opened>),
}

/// The error of a build without the store in etcd.
#[cfg(not(feature = "etcd"))]
pub const LACKING: &str =
    "this build of paramd has no store in etcd: build it with the feature `etcd`";

/// Opens the store. With etcd, this waits until etcd answers.
#[cfg_attr(
    not(feature = "etcd"),
    allow(unused_variables, reason = "only etcd needs them")
)]
pub async fn open(
    options: &Serve,
    config: &Config,
    origins: &[String],
    clock: &Clock,
) -> anyhow::Result<Opened> {
    let data = &options.data.data;
    match &options.store {
        StoreKind::Sled => open_local(options, origins),
        StoreKind::Etcd(members) => {
            check_is_not_local(data)?;
            #[cfg(feature = "etcd")]
            {
                let opened = etcd::open(data, members, config, clock, options.new).await?;
                Ok(Opened::Shared(Box::new(opened)))
            }
            #[cfg(not(feature = "etcd"))]
            {
                bail!(LACKING)
            }
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
    Ok(Opened::Local(Box::new(store)))
}

impl Opened {
    /// The dumps of the data directory.
    pub fn dumps(&self) -> Dumps {
        match self {
            Self::Local(store) => store.dumps().clone(),
            #[cfg(feature = "etcd")]
            Self::Shared(opened) => opened.dumps(),
        }
    }

    /// The cookies of the service, with secrets that were generated.
    pub async fn cookies(&mut self, data: &Path) -> anyhow::Result<Arc<Cookies>> {
        match self {
            Self::Local(_) => {
                let cookies = Cookies::generated(data);
                let cookies = cookies.context("cannot generate a secret for cookies")?;
                Ok(Arc::new(cookies))
            }
            #[cfg(feature = "etcd")]
            Self::Shared(opened) => opened.cookies().await,
        }
    }

    /// Starts the registry. `address` is where the service answers.
    #[cfg_attr(
        not(feature = "etcd"),
        allow(unused_variables, reason = "only replicas need them")
    )]
    pub fn start(
        self,
        zones: Vec<Zone>,
        address: &str,
        config: &Config,
        clock: Clock,
    ) -> anyhow::Result<Started> {
        match self {
            Self::Local(store) => {
                let started = Registry::start(zones, store, clock);
                let (registry, ended) = started.map_err(start_error)?;
                Ok(Started {
                    registry,
                    ended,
                    sharing: Sharing::Alone,
                })
            }
            #[cfg(feature = "etcd")]
            Self::Shared(opened) => opened.start(zones, address, config, clock),
        }
    }
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
            "{data} has a database of --store sled: specify another directory with --data. To \
             move the registrations to etcd, stop the service, write them to a file with `paramd \
             dump ZONE --data {data} --format json`, and run `paramd restore FILE --store \
             etcd://…` with the other directory",
            data = data.display()
        );
    }
    Ok(())
}
