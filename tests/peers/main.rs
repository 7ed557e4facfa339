//! The start script and the peers that it starts.

#[path = "../common/mod.rs"]
mod common;

mod fabric;
mod fencing;
mod script_network;
mod standstill;
mod start_peer;
