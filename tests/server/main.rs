//! The service as DNS clients see it.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod compliance;
mod connections;
mod cookies;
mod edns;
mod forged;
mod forwarding;
mod hostile;
mod http;
mod limits;
mod malformed;
mod memory;
mod network;
mod places;
mod policy;
mod queries;
mod replay;
mod resolvers;
mod secondaries;
mod takeover;
mod tls;
mod transfer_limits;
mod transfers;
mod tsig;
mod update;
