//! The store in etcd, with real members on loopback ports.

#![cfg(feature = "etcd")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod cluster;
mod followers;
mod lost;
mod mistakes;
mod outages;
mod replica;
mod restores;
mod store;
mod takeover;
