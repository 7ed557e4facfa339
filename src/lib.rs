//! A DNS responder that gives identical containers an identity.
//!
//! From the top down; a module uses only those below it:
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`commands`] | one file a command |
//! | [`server`] | the wire: sockets, who may ask what, messages |
//! | [`registry`] | the one writer: decides, commits, publishes |
//! | [`zone`] | names and records, zone files, the whole zone as a stream |
//! | [`store`] | durability |
//! | [`params`] | templates to environment |
//! | [`keys`] | TSIG keys and their files |
//! | [`settings`] | reading the files that people write |
//! | [`clock`] | the one clock |
//! | [`network`] | the law: who holds which ID, leases, root nodes |

pub mod cli;
pub mod clock;
pub mod commands;
pub mod keys;
pub mod log;
pub mod network;
pub mod params;
pub mod registry;
pub mod server;
pub mod settings;
pub mod store;
pub mod zone;
