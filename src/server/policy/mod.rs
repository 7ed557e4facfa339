//! Who asks, whether that is proven, what it may do, and how often.
//!
//! In come the source of a message, its cookie and its signature; out come decisions.
//! Nothing here reads a zone, writes a reply or changes a registration.
//!
//! * [`source`]: where a message came from.
//! * `access`: whether a list allows a source.
//! * [`cookie`]: DNS cookies, by which UDP can be trusted; `secrets`: what makes them.
//! * [`tsig`]: signed messages; `replay`: those that come a second time.
//! * [`limits`]: how much one source may ask for, by `rate`; `tally`: what the log is
//!   told of it.

mod access;
pub mod cookie;
pub mod limits;
mod rate;
pub(super) mod replay;
mod secrets;
pub mod source;
mod tally;
pub mod tsig;
