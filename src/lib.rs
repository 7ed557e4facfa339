//! A DNS server that gives identical containers an identity.
//!
//! The modules, from the top down; a module uses only those below it:
//!
//! | module | contents |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`commands`] | one file for each command |
//! | [`replicas`] | several services that share a store in etcd |
//! | [`http`] | the status page, metrics and health |
//! | [`server`] | sockets, access control, queries and answers |
//! | [`registry`] | the one writer: decides, commits, publishes |
//! | [`zone`] | names and records, zone files, a whole zone as a stream |
//! | [`store`] | durability |
//! | [`params`] | the templates of the environment |
//! | [`keys`] | TSIG keys and their files |
//! | [`settings`] | reads TOML files |
//! | [`clock`] | the clock, and whether the service could hear its peers |
//! | [`log`] | the log, with a rate limit |
//! | [`text`] | text for messages |
//! | [`network`] | the rules: who holds which ID, leases, root nodes |
//! | `memory` | memory that is no longer used |
//! | [`prefetch`] | memory that is needed soon |

pub mod cli;
pub mod clock;
pub mod commands;
pub mod http;
pub mod keys;
pub mod log;
#[cfg(feature = "etcd")]
mod memory;
pub mod network;
pub mod params;
pub mod prefetch;
pub mod registry;
#[cfg(feature = "etcd")]
pub mod replicas;
pub mod server;
pub mod settings;
pub mod store;
pub mod text;
pub mod zone;
