//! The decisions about clients, without a service.

mod access;
mod cookies;
mod limits;
mod rate;
