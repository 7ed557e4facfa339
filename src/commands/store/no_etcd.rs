//! A build without the store in etcd.

use std::{convert::Infallible, path::Path};

use anyhow::bail;

use crate::{clock::Clock, server::config::Config};

#[allow(clippy::unused_async, reason = "the other one waits")]
pub async fn open(
    _data: &Path,
    _members: &[String],
    _config: &Config,
    _clock: &Clock,
) -> anyhow::Result<Infallible> {
    bail!(LACKING)
}

/// The error of a build without the store in etcd.
pub const LACKING: &str =
    "this build of paramd has no store in etcd: build it with the feature `etcd`";
