//! What must survive: crashes, power failures, full and damaged disks.

#[path = "../common/mod.rs"]
mod common;

mod dumps;
mod durability;
mod fit;
mod journal;
mod place;
mod power_cut;
mod recovery;
mod refused_starts;
mod sigkill;
mod store;
mod store_faults;
mod windows;
