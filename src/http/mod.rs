//! The HTTP service: metrics for Prometheus, health for supervisors, and a status page.
//!
//! GET and HEAD requests come in; what the published state shows goes out. Nothing here
//! changes anything, waits for the registry's writer, or reads a request's body.
//!
//! * `server`: connections, with limits on their number and their time.
//! * `pages`: the paths and their responses.
//! * `status`, `drawing`: the status page of all networks, and the picture of one.
//! * `metrics`, `peers`: what Prometheus collects.

mod drawing;
mod metrics;
mod pages;
mod peers;
pub mod server;
mod status;

use self::pages::Site;
