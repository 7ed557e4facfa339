//! What Prometheus collects.

use std::fmt;

use prometheus_client::{encoding::prometheus_text, metrics::info::Info, registry::Registry};

use super::peers::Peers;
use crate::server::readiness::Readiness;

/// The content type of the text format of Prometheus.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub struct Metrics(Registry);

impl Metrics {
    pub fn new(readiness: &Readiness) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("paramd_build", "The release that is running", build);
        registry.register_collector(Box::new(Peers(readiness.registry.clone())));
        Self(registry)
    }

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}
