//! The rules of a network, and the writer that applies them.

#[path = "../common/mod.rs"]
mod common;

mod coverage;
mod follower;
mod laws;
mod leases;
mod registry;
mod replicas;
